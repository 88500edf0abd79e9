//! The UDP socket, with buffers as large as the system allows.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of the socket's buffers: 67 ms at 1 Gbit/s. Linux gives 212 KiB unless `net.core.rmem_max` and `wmem_max` allow
/// more.
const BUFFER: usize = 8 << 20;

/// An address as people know it: on a socket for both families IPv4 peers have IPv6 addresses, `::ffff:192.0.2.1`.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Smaller buffers cost speed, not correctness.
    socket.set_recv_buffer_size(BUFFER).ok();
    socket.set_send_buffer_size(BUFFER).ok();
    let receive_buffer = socket.recv_buffer_size()?;
    if receive_buffer < BUFFER {
        tracing::info!(
            receive_buffer,
            wanted = BUFFER,
            "small UDP buffer: net.core.rmem_max and wmem_max allow no more"
        );
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_peer_is_shown_as_one() {
        let shown = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(shown("[::ffff:192.0.2.1]:443"), "192.0.2.1:443");
        assert_eq!(shown("[2001:db8::1]:443"), "[2001:db8::1]:443");
    }
}
