use std::net::Ipv4Addr;

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::testing::{Edge, eventually};

/// Connects and says nothing.
async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn sockets_beyond_the_limits_are_bounded_and_give_way_when_others_go() {
    let edge = Edge::new("a", "[limits]\nassociations = 3\n");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = TaskTracker::new();
    let serving = tokio::spawn(serve(
        Arc::clone(&edge.shared),
        "lan".to_owned(),
        listener,
        tasks.clone(),
    ));
    let rejected_max = edge.shared.waiting_room.available_permits();
    let mut open = Vec::new();
    for _ in 0..3 + rejected_max {
        open.push(connect(address).await);
    }
    eventually("a seat for each", async || tasks.len() == 3 + rejected_max).await;
    let mut beyond = connect(address).await;
    // Dropped at once, whatever it says: the end of the stream, or a reset.
    let ended = beyond.read(&mut [0; 1]).await;
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    assert_eq!(tasks.len(), 3 + rejected_max);
    open.clear();
    eventually("places again", async || edge.shared.association_count() == 0).await;
    let _again = connect(address).await;
    eventually("a place for the next", async || edge.shared.association_count() == 1).await;
    edge.shared.draining.cancel();
    serving.await.unwrap();
}
