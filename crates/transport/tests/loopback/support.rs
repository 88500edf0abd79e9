//! Two ends on loopback, with certificates and custodians in memory.

mod certificates;
mod custodian;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use packhorse_transport::{Connection, Endpoint, Incoming, TransportConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use certificates::{
    Authority, client_tls, client_tls_with, client_tls_without_certificate, server_tls, server_tls_with,
};
pub(crate) use custodian::Memory;

pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub(crate) const SERVER_NAME: &str = "relay";

pub(crate) struct Ends {
    pub(crate) authority: Authority,
    pub(crate) server: Endpoint,
    pub(crate) client: Endpoint,
    pub(crate) address: SocketAddr,
}

impl Ends {
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let server = Endpoint::server(LOOPBACK, server_tls(&authority), TransportConfig::new("relay 1.0")).unwrap();
        let client = Endpoint::client(LOOPBACK, TransportConfig::new("edge 1.0")).unwrap();
        let address = server.local_addr().unwrap();
        Self {
            authority,
            server,
            client,
            address,
        }
    }

    /// A new link: the client's end and the server's.
    pub(crate) async fn link(&self) -> (Connection, Connection) {
        let connecting = self
            .client
            .connect(self.address, SERVER_NAME, client_tls(&self.authority));
        let (connected, accepted) = tokio::join!(connecting, self.server.accept());
        let Some(Incoming::Link(accepted)) = accepted else {
            panic!("no link came in");
        };
        (connected.unwrap(), accepted)
    }
}

/// Runs one end in a task.
pub(crate) fn run(
    connection: Connection,
    custodian: &Arc<Memory>,
    stop: &CancellationToken,
) -> JoinHandle<packhorse_transport::LinkEnd> {
    tokio::spawn(connection.run(Arc::clone(custodian) as _, stop.clone()))
}
