//! A storage SCP with a policy of its own: `cargo run -p storage-scp -- 11112`, then `storescu -aec ANY localhost 11112 x.dcm`.
//! It takes images from anybody, refuses every other class at negotiation, and counts bytes instead of storing them.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use packhorse_association::{AcceptorConfig, AssociationError, Request, accept};
use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal};
use packhorse_dicom::sop_class::{self, Group};
use packhorse_dicom::status::Status;
use tokio::net::{TcpListener, TcpStream};

/// Images and C-ECHO: yes, in the first transfer syntax that is offered. Everything else: abstract syntax not supported.
fn images_only(proposal: &Proposal) -> Answer {
    let answers = proposal.contexts.iter().map(|context| {
        let class = context.abstract_syntax.as_str();
        let is_image = sop_class::classify(class, &proposal.common_extended).group == Group::Images;
        let answer = match context.transfer_syntaxes.first() {
            Some(syntax) if is_image || class == sop_class::VERIFICATION => ContextAnswer::Accepted(syntax.clone()),
            _ => ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED),
        };
        (context.id, answer)
    });
    Answer::Accept(answers.collect())
}

async fn serve(stream: TcpStream) -> Result<(), AssociationError> {
    let mut association = accept(stream, "", &AcceptorConfig::default(), &images_only).await?;
    println!("association from {}", association.proposal().calling_ae_title);
    while let Some(request) = association.next().await? {
        match request {
            Request::Echo(echo) => echo.respond(Status::SUCCESS, None).await?,
            Request::Store(mut store) => {
                let mut bytes = 0;
                while let Some(fragment) = store.data().await? {
                    bytes += fragment.len();
                }
                println!(
                    "  {}: {bytes} bytes",
                    sop_class::name_of(store.abstract_syntax().as_str())
                );
                store.respond(Status::SUCCESS, None).await?;
            }
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(11112), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async { serve(stream).await.inspect_err(|error| println!("  ended: {error}")) });
    }
}
