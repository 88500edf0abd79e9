//! The driver over real QUIC on loopback.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod doors;
mod resume;
mod support;

use packhorse_ids::{Priority, SEGMENT_LEN};
use packhorse_transport::{LinkEnd, Refusal};
use support::{Ends, Memory, run};
use tokio_util::sync::CancellationToken;

const MIB: usize = SEGMENT_LEN as usize;

fn payload(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&number.to_be_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_whole_both_ways_at_once() {
    let ends = Ends::new();
    let (edge, relay) = (Memory::new(), Memory::new());
    let mut sent = Vec::new();
    for number in 0..1_000 {
        let length = 3_000 + number as usize;
        sent.push((true, edge.send(number, "a", Priority::Routine, payload(number, length))));
        sent.push((
            false,
            relay.send(number, "b", Priority::Routine, payload(number, length)),
        ));
    }
    for (number, length) in [
        (2_000, 0),
        (2_001, 5 * MIB),
        (2_002, 5 * MIB + 1),
        (2_003, 20 * MIB - 1),
    ] {
        sent.push((true, edge.send(number, "a", Priority::Bulk, payload(number, length))));
        sent.push((false, relay.send(number, "b", Priority::Bulk, payload(number, length))));
    }
    let (client, server) = ends.link().await;
    let stop = CancellationToken::new();
    let handle = client.handle();
    let (first, second) = (run(client, &edge, &stop), run(server, &relay, &stop));
    assert_eq!(handle.established().await.as_deref(), Some("relay 1.0"));
    edge.until(|progress| progress.acked == 1_004).await;
    relay.until(|progress| progress.acked == 1_004).await;

    for (from_edge, delivery) in sent {
        let (from, to) = if from_edge { (&edge, &relay) } else { (&relay, &edge) };
        assert_eq!(to.kept(delivery), Some(from.sent(delivery)));
    }
    let stats = handle.stats();
    assert_eq!(stats.payload_bytes_received, 1_000 * 3_000 + 499_500 + 30 * MIB as u64);
    assert!(stats.wire_bytes_received > stats.payload_bytes_received);
    stop.cancel();
    assert!(matches!(
        first.await.unwrap(),
        LinkEnd::Stopped | LinkEnd::ClosedByPeer { code: 0, .. }
    ));
    assert!(matches!(
        second.await.unwrap(),
        LinkEnd::Stopped | LinkEnd::ClosedByPeer { code: 0, .. }
    ));
    assert_eq!((edge.progress().lost, relay.progress().lost), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_delivery_comes_back_with_its_reason() {
    let ends = Ends::new();
    let (edge, relay) = (Memory::new(), Memory::new());
    relay.refuse_all(Refusal {
        code: 9,
        text: "no such site".to_owned(),
    });
    edge.send(1, "a", Priority::Routine, payload(1, 10));
    let (client, server) = ends.link().await;
    let stop = CancellationToken::new();
    let _tasks = (run(client, &edge, &stop), run(server, &relay, &stop));
    edge.until(|progress| progress.refused == 1).await;
    assert_eq!(edge.progress().acked, 0);
}
