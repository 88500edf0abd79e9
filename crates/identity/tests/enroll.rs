//! Joining and renewing, each error with its own words.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use packhorse_identity::{
    Authority, EnrollError, Enroller, IdentityError, Joining, Registry as _, SigningKey, SiteIdentity, SqliteRegistry,
    Token, TokenRecord,
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
        self.join_at(self.clock.now(), token, folder).await
    }

    /// Joins from a machine whose clock says `now`.
    async fn join_at(&self, now: WallTime, token: Token, folder: &Path) -> Result<SiteIdentity, IdentityError> {
        let joining = Joining::begin(token, folder, now)?;
        let answer = self.answer(&joining.request(&EXPORTER, now)).await;
        joining.complete(&answer)
    }

    async fn renew(&self, identity: &SiteIdentity) -> Result<SiteIdentity, IdentityError> {
        self.renew_at(self.clock.now(), identity).await
    }

    /// Renews from a machine whose clock says `now`.
    async fn renew_at(&self, now: WallTime, identity: &SiteIdentity) -> Result<SiteIdentity, IdentityError> {
        let renewal = identity.begin_renewal()?;
        let answer = self.answer(&renewal.request(&EXPORTER, now)).await;
        renewal.complete(&answer)
    }

    async fn answer(&self, request: &[u8]) -> Vec<u8> {
        self.enroller.handle(request, &EXPORTER).await.0
    }

    /// A certificate is issued, and its answer lost.
    async fn renew_unheard(&self, identity: &SiteIdentity) {
        let renewal = identity.begin_renewal().unwrap();
        let request = renewal.request(&EXPORTER, self.clock.now());
        assert_eq!(self.enroller.handle(&request, &EXPORTER).await.1, None);
    }

    fn later(&self, seconds: u64) -> WallTime {
        self.clock.now().saturating_add(Duration::from_secs(seconds))
    }

    fn earlier(&self, micros: i64) -> WallTime {
        WallTime::from_unix_micros(self.clock.now().unix_micros() - micros)
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
    let request = joining.request(&EXPORTER, relay.clock.now());
    let (first, _) = relay.enroller.handle(&request, &EXPORTER).await;
    let (second, error) = relay.enroller.handle(&request, &EXPORTER).await;
    assert_eq!((first, error), (second.clone(), None));
    assert!(joining.complete(&second).is_ok());
}

#[tokio::test]
async fn a_join_whose_answer_was_lost_succeeds_with_the_same_token_even_after_a_restart() {
    let (relay, folder) = (Relay::new(), folder());
    let token = relay.invite(1).await;
    let unheard = Joining::begin(token.clone(), folder.path(), relay.clock.now()).unwrap();
    relay.answer(&unheard.request(&EXPORTER, relay.clock.now())).await;
    drop(unheard);
    relay.clock.advance(DAY);
    assert!(relay.join(token, folder.path()).await.is_ok());
    assert!(!folder.path().join("pending.json").exists());
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_asked_again_and_answered_again() {
    let (relay, folder) = (Relay::new(), folder());
    let first = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    relay.clock.advance(5 * DAY);
    relay.renew_unheard(&first).await;
    relay.clock.advance(DAY);
    let again = SiteIdentity::open(folder.path()).unwrap();
    let second = relay.renew(&again).await.unwrap();
    assert!(second.not_after() > first.not_after());
    relay.clock.advance(5 * DAY);
    assert!(relay.renew(&second).await.unwrap().not_after() > second.not_after());
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_survives_weeks_of_being_off() {
    let (relay, folder) = (Relay::new(), folder());
    let first = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    relay.clock.advance(5 * DAY);
    relay.renew_unheard(&first).await;
    relay.clock.advance(25 * DAY);
    // The lost certificate ended meanwhile; it renews like any other that did.
    let lost = relay.renew(&first).await.unwrap();
    assert!(relay.renew(&lost).await.unwrap().not_after() > relay.clock.now());
}

#[tokio::test]
async fn a_renewal_that_cannot_be_written_down_is_asked_again() {
    let (relay, folder) = (Relay::new(), folder());
    let first = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    relay.clock.advance(5 * DAY);
    let in_the_way = folder.path().join("identity.new");
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(matches!(relay.renew(&first).await, Err(IdentityError::Io { .. })));
    std::fs::remove_dir(&in_the_way).unwrap();
    let again = SiteIdentity::open(folder.path()).unwrap();
    assert_eq!(again.not_after(), first.not_after());
    assert!(relay.renew(&again).await.unwrap().not_after() > first.not_after());
}

#[tokio::test]
async fn nobody_is_asked_before_the_key_is_on_disk_for_its_owner_alone() {
    let (relay, folder) = (Relay::new(), folder());
    let first = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    let in_the_way = folder.path().join("pending.new");
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(matches!(first.begin_renewal(), Err(IdentityError::Io { .. })));
    std::fs::remove_dir(&in_the_way).unwrap();
    relay.renew_unheard(&first).await;
    for file in ["pending.json", "identity.json"] {
        let mode = std::fs::metadata(folder.path().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_lost_renewal_is_of_no_more_use_once_the_site_has_joined_again() {
    let (relay, one, other) = (Relay::new(), folder(), folder());
    let first = relay.join(relay.invite(1).await, one.path()).await.unwrap();
    relay.renew_unheard(&first).await;
    relay.join(relay.invite(2).await, other.path()).await.unwrap();
    assert_eq!(refused(relay.renew(&first).await), EnrollError::NotNewest);
}

#[tokio::test]
async fn joining_again_as_advised_keeps_the_key_that_signs_receipts() {
    let (relay, folder) = (Relay::new(), folder());
    relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    let key = || SigningKey::open_or_create(folder.path()).unwrap().verifying_key();
    let before = key();
    let refusal = relay.join(relay.invite(2).await, folder.path()).await.unwrap_err();
    let advised = folder.path().join("identity.json");
    let advice = format!("remove {} and nothing else", advised.display());
    assert!(refusal.to_string().contains(&advice), "{refusal}");
    std::fs::remove_file(advised).unwrap();
    relay.join(relay.invite(3).await, folder.path()).await.unwrap();
    assert_eq!(key(), before);
}

#[tokio::test]
async fn an_answer_for_another_key_is_not_taken() {
    let (relay, one, other) = (Relay::new(), folder(), folder());
    let token = relay.invite(1).await;
    let joining = Joining::begin(token.clone(), one.path(), relay.clock.now()).unwrap();
    let another = Joining::begin(token, other.path(), relay.clock.now()).unwrap();
    let answer = relay.answer(&another.request(&EXPORTER, relay.clock.now())).await;
    assert!(matches!(joining.complete(&answer), Err(IdentityError::Answer)));
}

#[tokio::test]
async fn a_certificate_that_the_relay_has_forgotten_is_named_so() {
    let (relay, another, folder) = (Relay::new(), Relay::new(), folder());
    let identity = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    assert_eq!(refused(another.renew(&identity).await), EnrollError::CertificateUnknown);
}

#[tokio::test]
async fn an_expired_token_says_so_at_either_end() {
    let (relay, folder) = (Relay::new(), folder());
    let token = relay.invite(1).await;
    let joining = Joining::begin(token.clone(), folder.path(), relay.clock.now()).unwrap();
    relay.clock.advance(DAY);
    let answer = relay.answer(&joining.request(&EXPORTER, relay.clock.now())).await;
    assert_eq!(refused(joining.complete(&answer)), EnrollError::TokenExpired);
    let elsewhere = self::folder();
    let begun = Joining::begin(token, elsewhere.path(), relay.clock.now());
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
    let request = joining.request(&[1; 32], relay.clock.now());
    let (_, error) = relay.enroller.handle(&request, &EXPORTER).await;
    assert_eq!(error, Some(EnrollError::TokenUnknown));
}

#[tokio::test]
async fn a_clock_that_is_off_is_named_with_its_direction_and_costs_no_token() {
    let (relay, folder) = (Relay::new(), folder());
    let token = relay.invite(1).await;
    let ahead = relay.join_at(relay.later(3000), token.clone(), folder.path()).await;
    let behind = relay
        .join_at(relay.earlier(400_000_000), token.clone(), folder.path())
        .await;
    for (error, words) in [
        (ahead, "3000 s ahead of the relay's; set it right and try again"),
        (behind, "400 s behind the relay's; set it right and try again"),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(relay.join_at(relay.later(299), token, folder.path()).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_is_off_costs_no_renewal() {
    let (relay, folder) = (Relay::new(), folder());
    let first = relay.join(relay.invite(1).await, folder.path()).await.unwrap();
    relay.clock.advance(5 * DAY);
    let error = refused(relay.renew_at(relay.later(400), &first).await);
    let off = EnrollError::ClockOff {
        skew_s: 400,
        is_ahead: true,
    };
    assert_eq!(error, off);
    assert!(relay.renew(&first).await.is_ok());
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
