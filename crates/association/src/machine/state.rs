//! The thirteen states.

/// A state of PS3.8 §9.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sta1: idle, or over.
    Idle,
    /// Sta2: transport connection open, awaiting an A-ASSOCIATE-RQ.
    AwaitingAssociateRq,
    /// Sta3: awaiting the local answer to an A-ASSOCIATE-RQ.
    AwaitingAnswer,
    /// Sta4: awaiting the transport connection for our A-ASSOCIATE-RQ.
    AwaitingTransport,
    /// Sta5: awaiting the peer's answer to our A-ASSOCIATE-RQ.
    AwaitingAssociateAnswer,
    /// Sta6: association established.
    Established,
    /// Sta7: awaiting an A-RELEASE-RP.
    AwaitingReleaseRp,
    /// Sta8: awaiting the local answer to an A-RELEASE-RQ.
    AwaitingReleaseAnswer,
    /// Sta9: release collision, requestor side; awaiting the local answer.
    CollisionRequestor,
    /// Sta10: release collision, acceptor side; awaiting an A-RELEASE-RP.
    CollisionAcceptor,
    /// Sta11: release collision, requestor side; awaiting an A-RELEASE-RP.
    CollisionRequestorAnswered,
    /// Sta12: release collision, acceptor side; awaiting the local answer.
    CollisionAcceptorAnswered,
    /// Sta13: awaiting the close of the transport connection.
    AwaitingClose,
}

impl State {
    /// All thirteen, in the standard's order.
    pub const ALL: [Self; 13] = [
        Self::Idle,
        Self::AwaitingAssociateRq,
        Self::AwaitingAnswer,
        Self::AwaitingTransport,
        Self::AwaitingAssociateAnswer,
        Self::Established,
        Self::AwaitingReleaseRp,
        Self::AwaitingReleaseAnswer,
        Self::CollisionRequestor,
        Self::CollisionAcceptor,
        Self::CollisionRequestorAnswered,
        Self::CollisionAcceptorAnswered,
        Self::AwaitingClose,
    ];

    /// Its number in PS3.8, for logs: `Sta6 established`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "Sta1 idle",
            Self::AwaitingAssociateRq => "Sta2 awaiting A-ASSOCIATE-RQ",
            Self::AwaitingAnswer => "Sta3 awaiting the local answer",
            Self::AwaitingTransport => "Sta4 awaiting the transport connection",
            Self::AwaitingAssociateAnswer => "Sta5 awaiting A-ASSOCIATE-AC or -RJ",
            Self::Established => "Sta6 established",
            Self::AwaitingReleaseRp => "Sta7 awaiting A-RELEASE-RP",
            Self::AwaitingReleaseAnswer => "Sta8 awaiting the local release answer",
            Self::CollisionRequestor => "Sta9 release collision",
            Self::CollisionAcceptor => "Sta10 release collision",
            Self::CollisionRequestorAnswered => "Sta11 release collision",
            Self::CollisionAcceptorAnswered => "Sta12 release collision",
            Self::AwaitingClose => "Sta13 awaiting close",
        }
    }
}
