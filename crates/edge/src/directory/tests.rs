use super::*;

fn entry(at: i64, accepts: bool, key: &str) -> SiteEntry {
    let destinations = vec![Published {
        ae_title: "PACS_B".to_owned(),
        accepts,
        calling_ae_title: None,
        whole_study: false,
        mirror: None,
    }];
    SiteEntry {
        announced_at: at,
        destinations,
        signing_key: key.to_owned(),
    }
}

fn names() -> (SiteName, AeTitle) {
    (
        SiteName::try_from("st-mary").unwrap(),
        AeTitle::try_from("PACS_B").unwrap(),
    )
}

#[test]
fn what_a_site_announced_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (site, title) = names();
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(directory.standing(&site, &title), Standing::NotAnnounced);
    assert_eq!(directory.learn(&site, entry(1, false, "k")).unwrap(), Learned::Changed);
    assert_eq!(directory.standing(&site, &title), Standing::NotAccepted);
    assert_eq!(directory.learn(&site, entry(2, true, "k")).unwrap(), Learned::Changed);
    let again = Directory::open(folder.path()).unwrap();
    assert_eq!(
        again.standing(&site, &title),
        Standing::Accepted {
            announced_at: WallTime::from_unix_micros(2)
        }
    );
    assert_eq!(
        again.standing(&site, &AeTitle::try_from("PACS_C").unwrap()),
        Standing::NoSuchDestination
    );
}

#[test]
fn an_older_announcement_and_another_key_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (site, title) = names();
    let directory = Directory::open(folder.path()).unwrap();
    directory.learn(&site, entry(5, true, "k")).unwrap();
    assert_eq!(directory.learn(&site, entry(4, false, "k")).unwrap(), Learned::Same);
    assert_eq!(
        directory.learn(&site, entry(6, false, "other")).unwrap(),
        Learned::KeyDiffers
    );
    assert!(matches!(directory.standing(&site, &title), Standing::Accepted { .. }));
}

#[test]
fn those_who_asked_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (site, _) = names();
    Directory::open(folder.path())
        .unwrap()
        .asked_by(&site, WallTime::default(), &[])
        .unwrap();
    assert_eq!(Directory::open(folder.path()).unwrap().askers(), [site]);
}

#[test]
fn those_who_ask_are_bounded_and_who_may_send_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path()).unwrap();
    let (accepted, _) = names();
    let at = |micros| WallTime::from_unix_micros(micros);
    directory.asked_by(&accepted, at(0), &[]).unwrap();
    for number in 0..=i64::try_from(ASKERS_MAX).unwrap() {
        let stranger = SiteName::try_from(format!("s{number}").as_str()).unwrap();
        let kept = std::slice::from_ref(&accepted);
        directory.asked_by(&stranger, at(1 + number), kept).unwrap();
    }
    let askers = directory.askers();
    assert_eq!(askers.len(), ASKERS_MAX);
    assert!(askers.contains(&accepted));
    assert!(!askers.contains(&SiteName::try_from("s0").unwrap()));
}

#[test]
fn an_announcement_is_later_than_the_last_one_also_when_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = |micros| WallTime::from_unix_micros(micros);
    let directory = Directory::open(folder.path()).unwrap();
    assert_eq!(directory.next_announcement(at(1000)).unwrap(), 1000);
    let again = Directory::open(folder.path()).unwrap();
    assert_eq!(again.next_announcement(at(10)).unwrap(), 1001);
    assert_eq!(again.next_announcement(at(2000)).unwrap(), 2000);
}

#[test]
fn an_announcement_older_than_one_that_said_nothing_new_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (site, title) = names();
    let directory = Directory::open(folder.path()).unwrap();
    directory.learn(&site, entry(5, true, "k")).unwrap();
    directory.learn(&site, entry(9, true, "k")).unwrap();
    assert_eq!(directory.learn(&site, entry(7, false, "k")).unwrap(), Learned::Same);
    assert!(matches!(directory.standing(&site, &title), Standing::Accepted { .. }));
}

#[test]
fn a_file_replaced_by_many_at_once_is_always_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..20 {
                    replace_file(path, &vec![writer; 50_000]).unwrap();
                }
            });
        }
    });
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes, vec![bytes[0]; 50_000]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
