//! 1 GiB through both of our roles in constant memory: a test binary of its own, for it counts what the process allocates.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use packhorse_association::driver::SourceError;
use packhorse_association::{
    AcceptorConfig, AssociationError, CStoreRq, DataSource, Request, RequestedAssociation, RequestorConfig, accept,
};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{Answer, ContextAnswer, PresentationContextId, Proposal, ProposedContext};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use tokio::net::TcpListener;

const LEN: usize = 1 << 30;
/// What a source of an embedder reads at a time; odd, so that no chunk fits the fragments.
const CHUNK_LEN: usize = 1_000_003;
/// What both roles and the source's chunk may hold together; sockets' buffers are the kernel's. Measured: 2 MiB.
const HELD_MAX: usize = 4 * 1024 * 1024;

/// The system's allocator, with the bytes in use and their peak.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator is unsafe; this one only counts")]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(in_use, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A sum that depends on the place of every word and does not slow the test down, as SHA-256 does.
#[derive(Default, PartialEq, Debug)]
struct Sum {
    state: u64,
    /// Bytes that do not fill a word yet.
    rest: Vec<u8>,
    len: usize,
}

impl Sum {
    fn add(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        if !self.rest.is_empty() {
            let (first, others) = bytes.split_at(bytes.len().min(8 - self.rest.len()));
            self.rest.extend_from_slice(first);
            bytes = others;
            if let Ok(word) = <[u8; 8]>::try_from(self.rest.as_slice()) {
                self.word(word);
                self.rest.clear();
            }
        }
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(*word));
        self.rest.extend_from_slice(rest);
    }

    fn word(&mut self, word: [u8; 8]) {
        self.state = (self.state ^ u64::from_le_bytes(word))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29);
    }
}

/// Makes its chunks when they are asked for.
struct Made<'a> {
    left: usize,
    sum: &'a mut Sum,
}

impl DataSource for Made<'_> {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.left == 0 {
            return Ok(None);
        }
        let len = self.left.min(CHUNK_LEN);
        // Words that count down, so that no two places hold the same.
        let words = len.div_ceil(8);
        let mut chunk = Vec::with_capacity(words * 8);
        (0..words).for_each(|word| chunk.extend_from_slice(&(self.left - word).to_le_bytes()));
        chunk.truncate(len);
        self.left -= len;
        self.sum.add(&chunk);
        Ok(Some(chunk.into()))
    }
}

fn accept_all(proposal: &Proposal) -> Answer {
    let answers = proposal.contexts.iter();
    let answers = answers.map(|context| {
        (
            context.id,
            ContextAnswer::Accepted(context.transfer_syntaxes[0].clone()),
        )
    });
    Answer::Accept(answers.collect())
}

/// Takes one instance as it comes; its sum.
async fn take(listener: TcpListener) -> Result<Sum, AssociationError> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut association = accept(stream, "", &AcceptorConfig::default(), &accept_all).await?;
    let mut sum = Sum::default();
    while let Some(request) = association.next().await? {
        let Request::Store(mut store) = request else { panic!() };
        while let Some(fragment) = store.data().await? {
            sum.add(&fragment);
        }
        store.respond(Status::SUCCESS, None).await?;
    }
    Ok(sum)
}

async fn give(address: &str, sum: &mut Sum) -> Result<Status, AssociationError> {
    let class = "1.2.840.10008.5.1.4.1.1.7.3";
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from(class).unwrap(),
        transfer_syntaxes: vec![TransferSyntaxUid::try_from("1.2.840.10008.1.2.1").unwrap()],
    };
    let title = |text| AeTitle::try_from(text).unwrap();
    let config = RequestorConfig::new(title("GIVER"), title("TAKER"));
    let mut association = RequestedAssociation::request(address, &config, vec![context]).await?;
    let command = CStoreRq {
        message_id: 0,
        affected_sop_class_uid: Bytes::from_static(class.as_bytes()),
        affected_sop_instance_uid: Bytes::from_static(b"1.2.3"),
        priority: 0,
        move_originator: None,
    };
    let data = Made { left: LEN, sum };
    let answer = association
        .store(association.contexts()[0].proposed.id, &command, data)
        .await?;
    association.release().await?;
    Ok(answer.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_of_1_gib_passes_in_constant_memory() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let before = IN_USE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let taking = tokio::spawn(take(listener));
    let mut given = Sum::default();
    assert_eq!(give(&address, &mut given).await.unwrap(), Status::SUCCESS);
    let taken = taking.await.unwrap().unwrap();
    let held = PEAK.load(Ordering::Relaxed) - before;
    assert_eq!(taken, given);
    assert_eq!(taken.len, LEN);
    assert!(held <= HELD_MAX, "{held} bytes were held at once");
}
