//! Joining and renewing, each error with its own words.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use packhorse_identity::{
    Authority, EnrollError, Enroller, IdentityError, Joining, Registry as _, SiteIdentity, SqliteRegistry, Token,
    TokenRecord,
};
use packhorse_ids::{Clock as _, FakeClock, SiteName, WallTime};

const EXPORTER: [u8; 32] = [9; 32];
const DAY: Duration = Duration::from_secs(86_400);

struct Relay {
    authority: Arc<Authority>,
    registry: Arc<SqliteRegistry>,
    clock: Arc<FakeClock>,
    enroller: Enroller,
    folder: tempfile::TempDir,
}

impl Relay {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::at(WallTime::from_unix_micros(1_795_000_000_000_000)));
        let authority = Arc::new(Authority::create(&folder.path().join("ca"), clock.now()).unwrap());
        let registry = Arc::new(SqliteRegistry::open(&folder.path().join("registry.sqlite")).unwrap());
        let enroller = Enroller::new(authority.clone(), registry.clone(), clock.clone());
        Self {
            authority,
            registry,
            clock,
            enroller,
            folder,
        }
    }

    async fn invite(&self, id: u8) -> Token {
        let site = SiteName::try_from("clinic-a").unwrap();
        let expires = self.clock.now().saturating_add(Duration::from_secs(3600));
        let addresses = vec!["relay.example:443".to_owned()];
        let token = Token::new(
            addresses,
            self.authority.pin().unwrap(),
            [id; 8],
            site.clone(),
            expires,
            [id; 32],
        );
        let record = TokenRecord {
            id: [id; 8],
            mac_key: token.mac_key(),
            site,
            expires,
        };
        self.registry.create_token(record).await.unwrap();
        token
    }

    async fn join(&self, token: Token, folder: &Path) -> Result<SiteIdentity, IdentityError> {
        let joining = Joining::begin(token, folder, self.clock.now())?;
        let (answer, _) = self.enroller.handle(&joining.request(&EXPORTER), &EXPORTER).await;
        joining.complete(&answer, self.clock.now())
    }

    async fn renew(&self, identity: &SiteIdentity) -> Result<SiteIdentity, IdentityError> {
        let renewal = identity.begin_renewal().unwrap();
        let (answer, _) = self.enroller.handle(&renewal.request(&EXPORTER), &EXPORTER).await;
        renewal.complete(&answer, self.clock.now())
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn refused(result: Result<SiteIdentity, IdentityError>) -> EnrollError {
    match result {
        Err(IdentityError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_makes_a_site_once() {
    let (relay, one, other) = (Relay::new(), folder(), folder());
    let token = relay.invite(1).await;
    let identity = relay.join(token.clone(), one.path()).await.unwrap();
    assert_eq!(identity.site().as_str(), "clinic-a");
    assert_eq!(
        SiteIdentity::open(one.path()).unwrap().not_after(),
        identity.not_after()
    );
    assert_eq!(
        refused(relay.join(token.clone(), other.path()).await),
        EnrollError::TokenUsed
    );
    assert!(matches!(
        relay.join(token, one.path()).await,
        Err(IdentityError::Joined { .. })
    ));
    assert_eq!(relay.registry.sites().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_to_the_same_request() {
    let (relay, folder) = (Relay::new(), folder());
    let joining = Joining::begin(relay.invite(1).await, folder.path(), relay.clock.now()).unwrap();
    let request = joining.request(&EXPORTER);
    let (first, _) = relay.enroller.handle(&request, &EXPORTER).await;
    let (second, error) = relay.enroller.handle(&request, &EXPORTER).await;
    assert_eq!((first, error), (second.clone(), None));
    assert!(joining.complete(&second, relay.clock.now()).is_ok());
}

#[tokio::test]
async fn an_expired_token_says_so_at_either_end() {
    let (relay, folder) = (Relay::new(), folder());
    let token = relay.invite(1).await;
    let joining = Joining::begin(token.clone(), folder.path(), relay.clock.now()).unwrap();
    relay.clock.advance(DAY);
    let (answer, _) = relay.enroller.handle(&joining.request(&EXPORTER), &EXPORTER).await;
    assert_eq!(
        refused(joining.complete(&answer, relay.clock.now())),
        EnrollError::TokenExpired
    );
    let begun = Joining::begin(token, folder.path(), relay.clock.now());
    assert!(matches!(begun, Err(IdentityError::TokenExpired(_))));
}

#[tokio::test]
async fn a_forged_token_and_another_channel_are_refused() {
    let (relay, folder) = (Relay::new(), folder());
    let token = relay.invite(1).await;
    let site = token.site.clone();
    let forged = Token::new(
        token.addresses.clone(),
        token.pin,
        token.id,
        site,
        token.expires,
        [7; 32],
    );
    assert_eq!(
        refused(relay.join(forged, folder.path()).await),
        EnrollError::TokenUnknown
    );
    let joining = Joining::begin(token, folder.path(), relay.clock.now()).unwrap();
    let (_, error) = relay.enroller.handle(&joining.request(&[1; 32]), &EXPORTER).await;
    assert_eq!(error, Some(EnrollError::TokenUnknown));
}

#[tokio::test]
async fn a_clock_that_is_off_is_named_with_its_direction() {
    let (relay, folder) = (Relay::new(), folder());
    let joining = Joining::begin(relay.invite(1).await, folder.path(), relay.clock.now()).unwrap();
    let (answer, _) = relay.enroller.handle(&joining.request(&EXPORTER), &EXPORTER).await;
    let ours = relay.clock.now().saturating_add(Duration::from_secs(3000));
    let error = joining.complete(&answer, ours).unwrap_err();
    assert!(error.to_string().contains("3000 s ahead of the relay's"), "{error}");
}

#[tokio::test]
async fn a_certificate_renews_with_a_new_key_and_the_old_one_is_of_no_more_use() {
    let (relay, folder) = (Relay::new(), folder());
    let first = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    relay.clock.advance(5 * DAY);
    let second = relay.renew(&first).await.unwrap();
    assert!(second.not_after() > first.not_after());
    assert_eq!(
        SiteIdentity::open(folder.path()).unwrap().not_after(),
        second.not_after()
    );
    assert_eq!(refused(relay.renew(&first).await), EnrollError::NotNewest);
}

#[tokio::test]
async fn a_site_that_was_off_for_weeks_comes_back_and_one_off_for_months_joins_again() {
    let (relay, folder) = (Relay::new(), folder());
    let first = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    relay.clock.advance(30 * DAY);
    let second = relay.renew(&first).await.unwrap();
    relay.clock.advance(40 * DAY);
    assert_eq!(refused(relay.renew(&second).await), EnrollError::ExpiredTooLong);
}

#[tokio::test]
async fn a_revoked_site_renews_no_more_and_may_be_invited_again() {
    let (relay, one, other) = (Relay::new(), folder(), folder());
    let identity = relay.join(relay.invite(1).await, one.path()).await.unwrap();
    assert!(relay.registry.revoke(identity.site(), relay.clock.now()).await.unwrap());
    assert_eq!(refused(relay.renew(&identity).await), EnrollError::Revoked);
    assert_eq!(relay.registry.revoked().await.unwrap().len(), 1);
    assert!(relay.join(relay.invite(2).await, other.path()).await.is_ok());
    assert_eq!(relay.registry.sites().await.unwrap()[0].revoked, None);
}

#[tokio::test]
async fn garbage_is_answered_and_renewal_is_due_after_two_thirds() {
    let (relay, folder) = (Relay::new(), folder());
    for request in [
        &b""[..],
        b"{}",
        b"\xff\xff",
        br#"{"kind":"join","v":2,"token":"","csr":"","mac":""}"#,
    ] {
        let (_, error) = relay.enroller.handle(request, &EXPORTER).await;
        assert_eq!(error, Some(EnrollError::Malformed));
    }
    let identity = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    let life = |at: WallTime| at.saturating_since(relay.clock.now()).as_secs_f64() / (7.0 * 86_400.0);
    assert!((life(identity.renew_at(0.5)) - 2.0 / 3.0).abs() < 0.01);
    assert!((life(identity.renew_at(0.0)) - life(identity.renew_at(1.0)) - 0.2).abs() < 0.01);
}

#[tokio::test]
async fn the_secret_is_nowhere_in_the_registry() {
    let relay = Relay::new();
    relay.invite(0xA7).await;
    for file in std::fs::read_dir(relay.folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                !bytes.windows(32).any(|window| window == [0xA7; 32]),
                "{}",
                path.display()
            );
        }
    }
}
