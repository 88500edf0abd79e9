//! A storage SCP that asks `packhorse-policy`'s rules first, and then one of its own in Rust.
//!
//! `cargo run -p own-policy -- FOLDER 11112`, then `storescu -aec ARCHIVE localhost 11112 x.dcm`. In FOLDER are
//! `policy.toml` (sources, routes and rules as in edge.toml), and `paused.txt`: calling AE titles, one a line, from which no
//! images are taken at the moment. What is taken lies in FOLDER as files (PS3.10), what a rule holds in FOLDER/held.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

mod take;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use packhorse_association::{AcceptorConfig, Decide, Request, accept};
use packhorse_dicom::negotiation::{Answer, ContextAnswer, ContextResult, Proposal};
use packhorse_dicom::sop_class::{self, Group};
use packhorse_dicom::status::Status;
use packhorse_policy::config::{RawRoute, RawRule, RawSource};
use packhorse_policy::{DestinationKnowledge, Engine};
use tokio::net::{TcpListener, TcpStream};

#[derive(serde::Deserialize)]
struct File {
    source: Vec<RawSource>,
    route: Vec<RawRoute>,
    rule: Vec<RawRule>,
}

/// What answers proposals: the rules, and who is paused. Asked on the task that serves the association, so it reads no file.
struct OwnPolicy {
    engine: Arc<Engine>,
    paused: Vec<String>,
}

impl Decide for OwnPolicy {
    fn decide(&self, proposal: &Proposal) -> Answer {
        // Names in `hosts` would be looked up here; this example knows addresses only.
        if let Err(refused) = self.engine.admit(proposal, &|_| Vec::new()) {
            println!("rejected: {}", refused.why);
            return Answer::Reject(refused.rejection);
        }
        let is_paused = self.paused.contains(&proposal.calling_ae_title.to_string());
        let contexts = self.engine.decide(proposal, &DestinationKnowledge::default()).contexts;
        let answers = contexts.into_iter().map(|context| {
            let class = sop_class::classify(context.abstract_syntax.as_str(), &proposal.common_extended);
            // The rule of our own. It only narrows: what the engine has rejected stays so, with its reason.
            let answer = match context.answer {
                ContextAnswer::Accepted(_) if is_paused && class.group == Group::Images => {
                    ContextAnswer::Rejected(ContextResult::USER_REJECTION)
                }
                answer => answer,
            };
            (context.id, answer)
        });
        Answer::Accept(answers.collect())
    }
}

async fn serve(engine: Arc<Engine>, folder: Arc<Path>, stream: TcpStream) -> anyhow::Result<()> {
    let paused = tokio::fs::read_to_string(folder.join("paused.txt")).await;
    let paused = paused.unwrap_or_default().lines().map(str::to_owned).collect();
    let policy = OwnPolicy { engine, paused };
    let mut association = accept(stream, "", &AcceptorConfig::default(), &policy).await?;
    let proposal = association.proposal().clone();
    while let Some(request) = association.next().await? {
        match request {
            Request::Echo(echo) => echo.respond(Status::SUCCESS, None).await?,
            Request::Store(store) => take::take(&policy.engine, &folder, &proposal, store).await?,
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).context("own-policy FOLDER [PORT]")?;
    let port = std::env::args().nth(2).map_or(Ok(11112), |port| port.parse())?;
    let folder: Arc<Path> = Path::new(&folder).into();
    std::fs::create_dir_all(folder.join("held"))?;
    let File { source, route, rule } = toml::from_str(&std::fs::read_to_string(folder.join("policy.toml"))?)?;
    let engine = Engine::new(&source, &route, &rule);
    let engine = Arc::new(engine.map_err(|errors| anyhow::anyhow!("policy.toml: {errors:#?}"))?);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let served = serve(Arc::clone(&engine), Arc::clone(&folder), stream);
        tokio::spawn(async { served.await.inspect_err(|error| println!("ended: {error:#}")) });
    }
}
