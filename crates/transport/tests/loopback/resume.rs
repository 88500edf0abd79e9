//! What becomes of a link that ends in the middle, and of what is urgent.

use packhorse_ids::Priority;
use packhorse_transport::LinkEnd;
use tokio_util::sync::CancellationToken;

use crate::support::{Ends, Memory, run};
use crate::{MIB, payload};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_killed_in_the_middle_resumes_with_what_is_missing() {
    let ends = Ends::new();
    let (edge, relay) = (Memory::new(), Memory::new());
    let deliveries: Vec<_> = (0..4)
        .map(|number| edge.send(number, "a", Priority::Routine, payload(number, 40 * MIB)))
        .collect();
    let stop = CancellationToken::new();

    let (client, server) = ends.link().await;
    let handle = server.handle();
    let (first, second) = (run(client, &edge, &stop), run(server, &relay, &stop));
    relay.until(|progress| progress.written >= 50).await;
    handle.close(77, "pulled out");
    let expected = LinkEnd::ClosedByPeer {
        code: 77,
        sentence: "pulled out".to_owned(),
    };
    assert_eq!(first.await.unwrap(), expected);
    assert_eq!(second.await.unwrap(), LinkEnd::Stopped);
    let before = relay.progress();
    let given_back = edge.progress().lost;
    assert!(given_back > 0 && given_back + edge.progress().acked == 4);

    let (client, server) = ends.link().await;
    let handle = server.handle();
    let _tasks = (run(client, &edge, &stop), run(server, &relay, &stop));
    edge.until(|progress| progress.acked == 4).await;
    let missing = 160 - before.written;
    assert_eq!(
        handle.stats().segments_received,
        missing as u64,
        "only what was missing"
    );
    for delivery in deliveries {
        assert!(relay.kept(delivery) == Some(edge.sent(delivery)), "arrived whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stat_goes_before_the_bulk_that_is_under_way() {
    let ends = Ends::new();
    let (edge, relay) = (Memory::new(), Memory::new());
    for number in 0..8 {
        edge.send(number, "a", Priority::Bulk, payload(number, 32 * MIB));
    }
    let stop = CancellationToken::new();
    let (client, server) = ends.link().await;
    let _tasks = (run(client, &edge, &stop), run(server, &relay, &stop));
    relay.until(|progress| progress.written >= 8).await;
    let stat = edge.send(100, "a", Priority::Stat, payload(100, 2 * MIB));
    edge.until(|progress| progress.acked == 9).await;
    let place = relay.order().iter().position(|delivery| *delivery == stat).unwrap();
    assert!(place <= 2, "it came as number {place} of 9");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stat_is_offered_though_as_much_is_offered_as_may_be() {
    let ends = Ends::new();
    let (edge, relay) = (Memory::new(), Memory::new());
    relay.take_no_bulk();
    for number in 0..1_100 {
        edge.send(number, "a", Priority::Bulk, payload(number, 10));
    }
    let stop = CancellationToken::new();
    let (client, server) = ends.link().await;
    let _tasks = (run(client, &edge, &stop), run(server, &relay, &stop));
    edge.until(|progress| progress.offered == 1_024).await;
    let stat = edge.send(2_000, "a", Priority::Stat, payload(2_000, 10));
    edge.until(|progress| progress.acked == 1).await;
    assert_eq!(relay.order(), [stat]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_stopped_says_so_and_gives_back() {
    let ends = Ends::new();
    let (edge, relay) = (Memory::new(), Memory::new());
    let (stop_edge, stop_relay) = (CancellationToken::new(), CancellationToken::new());
    let (client, server) = ends.link().await;
    let handle = client.handle();
    let (first, second) = (run(client, &edge, &stop_edge), run(server, &relay, &stop_relay));
    handle.established().await.unwrap();
    stop_edge.cancel();
    assert_eq!(first.await.unwrap(), LinkEnd::Stopped);
    assert!(matches!(second.await.unwrap(), LinkEnd::ClosedByPeer { code: 0, .. }));
}
