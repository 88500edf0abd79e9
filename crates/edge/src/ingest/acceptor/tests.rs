use std::net::Ipv4Addr;

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::testing::{Edge, eventually};

/// Connects and says nothing.
async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn connections_that_say_nothing_are_bounded_and_take_no_place() {
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
    let mut first = connect(address).await;
    let mut others = Vec::new();
    for _ in 0..HALL_MAX {
        others.push(connect(address).await);
    }
    // The first had to go for the last: the end of the stream, or a reset.
    let ended = first.read(&mut [0; 1]).await;
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
    eventually("as many as the hall holds", async || tasks.len() == HALL_MAX).await;
    assert_eq!((edge.shared.hall.len(), edge.shared.association_count()), (HALL_MAX, 0));
    others.clear();
    eventually("an empty hall", async || edge.shared.hall.len() == 0).await;
    edge.shared.draining.cancel();
    serving.await.unwrap();
}
