//! Broken and strange instances: each is carried identical, or refused with a status and a word in the log.

use std::collections::BTreeSet;
use std::path::Path;

use packhorse_testkit::corpus;
use packhorse_testkit::instances::{CT_IMAGE_STORAGE, ImageSize, Study};
use packhorse_testkit::peers::{LogLine, Peer, Xscp, XscpOptions, require, sha256};
use packhorse_testkit::raw_scu::RawScu;

use crate::instances::Instance;
use crate::support::{Host, ROUTE, Setup, Sites, rows};

const EXPLICIT_VR_LE: &str = "1.2.840.10008.1.2.1";

fn start() -> Option<(Xscp, Sites)> {
    require(Peer::Pynetdicom)?;
    let target = Xscp::start(XscpOptions::default()).unwrap();
    let sites = Sites::start(target.port(), &Setup::default());
    Some((target, sites))
}

/// Names of all files below a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let files = corpus::files(folder).unwrap();
    files
        .iter()
        .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// Everything still runs, and no file has a name that came from outside.
fn assert_unharmed(sites: &mut Sites) {
    for host in Host::ALL {
        assert!(sites.daemon(host).process.is_running(), "{host:?} has ended");
        let ours = [
            "slab-",
            "payload-",
            "index.sqlite",
            "ledger.sqlite",
            "registry.sqlite",
            "root",
        ];
        let ours = [
            &ours[..],
            &[
                "lock",
                "admin.sock",
                "edge.toml",
                "relay.toml",
                "directory.json",
                "mirror",
                "epoch",
            ],
        ]
        .concat();
        let in_identity = names(
            &sites
                .folder(host)
                .join(if host == Host::Relay { "ca" } else { "identity" }),
        );
        for name in names(&sites.folder(host)) {
            let is_ours = ours.iter().any(|ours| name.starts_with(ours)) || in_identity.contains(&name);
            assert!(is_ours, "{host:?} has a file {name}");
        }
    }
    let above = sites.folder(Host::A).parent().unwrap().read_dir().unwrap().count();
    assert_eq!(above, Host::ALL.len(), "something was written beside the folders");
}

fn has(log: &[LogLine], digest: &str) -> bool {
    log.iter().any(|line| line.sha256 == digest && line.status == "0000")
}

#[test]
fn odd_files_are_sent_by_command_or_refused_with_a_reason() {
    let Some(corpus) = corpus::require_or_skip("odd_files_are_sent_by_command_or_refused_with_a_reason") else {
        return;
    };
    let Some((target, mut sites)) = start() else { return };
    let odd = corpus.join("odd");
    let finished = sites.run(Host::A, &["send", odd.to_str().unwrap(), "--to", ROUTE, "--json"]);
    let said: serde_json::Value = serde_json::from_str(finished.stdout.last().unwrap()).unwrap();
    sites.wait_until_quiet();
    let refused: BTreeSet<_> = rows(&said, "refused")
        .map(|file| {
            assert!(!file["why"].as_str().unwrap().is_empty(), "{file}");
            file["file"].as_str().unwrap().to_owned()
        })
        .collect();
    let log = target.log().unwrap();
    let failed = sites.said(Host::B, &["failed"]);
    for file in corpus::files(&odd).unwrap() {
        let is_refused = refused.contains(file.to_str().unwrap());
        let Some(instance) = Instance::read(&file) else {
            assert!(is_refused, "{}", file.display());
            continue;
        };
        let is_known = is_refused || has(&log, &instance.sha256) || failed.contains(&instance.uid);
        assert!(is_known, "{} is nowhere", file.display());
    }
    assert!(said["sent"].as_u64().unwrap() >= 20, "{said}");
    assert_unharmed(&mut sites);
}

#[test]
fn odd_instances_from_raw_bytes_are_carried_identical_or_refused_with_a_status() {
    let name = "odd_instances_from_raw_bytes_are_carried_identical_or_refused_with_a_status";
    let Some(corpus) = corpus::require_or_skip(name) else {
        return;
    };
    let Some((target, mut sites)) = start() else { return };
    let mut taken = Vec::new();
    for (number, file) in corpus::files(&corpus.join("odd")).unwrap().iter().enumerate() {
        // What has no class or no UID of its own is sent under another's.
        let instance = Instance::read(file).unwrap_or_else(|| {
            let data = std::fs::read(file).unwrap();
            Instance {
                name: file.display().to_string(),
                class: CT_IMAGE_STORAGE.to_owned(),
                uid: format!("1.2.3.{number}"),
                syntax: EXPLICIT_VR_LE.to_owned(),
                sha256: sha256(&data),
                data,
            }
        });
        let mut scu = RawScu::associate(sites.dicom(), ROUTE, "ODD", &[instance.pair()]).unwrap();
        let context = scu.accepted(&instance.pair()).unwrap();
        let (class, uid) = (instance.class.as_bytes(), instance.uid.as_bytes());
        let answer = scu.store(context, class, uid, &instance.data).unwrap();
        assert_eq!(
            answer.status == 0,
            answer.comment.is_empty(),
            "{}: {answer:?}",
            instance.name
        );
        if answer.status == 0 {
            taken.push(instance);
        }
    }
    assert!(taken.len() >= 30, "{} were taken", taken.len());
    sites.wait_until_quiet();
    let log = target.log().unwrap();
    for instance in &taken {
        assert!(has(&log, &instance.sha256), "{}", instance.name);
    }
    assert_unharmed(&mut sites);
}

#[test]
fn uids_that_are_none_are_kept_byte_for_byte_or_refused() {
    let Some((target, mut sites)) = start() else { return };
    let made = Study::new("odd uids").ct_slice(1, 1, ImageSize::square(16));
    let pair = (CT_IMAGE_STORAGE.to_owned(), made.transfer_syntax.to_string());
    let too_long = [b'1'; 65];
    let uids: [(&[u8], u16); 7] = [
        (b"../../../../tmp/packhorse", 0),
        (b"/etc/passwd", 0),
        (b"1.2.3 ", 0),
        (b"%s%n{}", 0),
        (&too_long, 0x0117),
        (b"", 0x0117),
        (b"\xff\xfe\x01", 0x0117),
    ];
    for (uid, status) in uids {
        let mut scu = RawScu::associate(sites.dicom(), ROUTE, "ODD", std::slice::from_ref(&pair)).unwrap();
        let context = scu.accepted(&pair).unwrap();
        let answer = scu
            .store(context, CT_IMAGE_STORAGE.as_bytes(), uid, &made.dataset)
            .unwrap();
        assert_eq!(answer.status, status, "{uid:?}: {answer:?}");
        assert!(
            answer.sop_instance_uid.starts_with(uid),
            "the answer repeats the UID as it came"
        );
    }
    sites.wait_until_quiet();
    let log = target.log().unwrap();
    let sent: Vec<_> = log.iter().map(|line| line.sop_instance_uid.as_str()).collect();
    assert_eq!(sent.len(), 4, "{sent:?}");
    assert!(sent.contains(&"../../../../tmp/packhorse"), "{sent:?}");
    assert_unharmed(&mut sites);
}
