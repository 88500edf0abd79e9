//! DCMTK and pynetdicom over TLS, in both roles.

use packhorse_association::driver::tls::{ClientAuthentication, TlsAcceptor, TlsError, TlsIdentity, TlsRequestor};
use packhorse_association::{AssociationError, RequestedAssociation};
use packhorse_testkit::certs::{Cert, CertFiles, CertSpec};
use packhorse_testkit::instances::Instance;
use packhorse_testkit::peers::{
    Peer, PeerTls, Storescp, StorescpOptions, Xscp, XscpOptions, Xscu, dataset_sha256, echoscu, require, sha256,
    storescu,
};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::support::*;

/// A peer's certificate and ours, in files.
struct Files {
    folder: TempDir,
    ours: Cert,
    ours_at: CertFiles,
    theirs: Cert,
    theirs_at: CertFiles,
}

fn files() -> Files {
    let folder = tempfile::tempdir().unwrap();
    // As a PACS has it: self-signed, RSA, CA:TRUE, no names.
    let (ours, theirs) = (proper(), CertSpec::new("peer").rsa().ca().self_signed());
    Files {
        ours_at: ours.write(folder.path(), "ours").unwrap(),
        theirs_at: theirs.write(folder.path(), "theirs").unwrap(),
        folder,
        ours,
        theirs,
    }
}

impl Files {
    fn identity(&self) -> TlsIdentity {
        identity(&self.ours)
    }

    fn mutual_scp(&self) -> TlsAcceptor {
        TlsAcceptor::new(self.identity(), ClientAuthentication::Required(pinned(&self.theirs))).unwrap()
    }

    fn mutual_scu(&self) -> TlsRequestor {
        TlsRequestor::new(trusted(&self.theirs), Some(self.identity())).unwrap()
    }

    /// DCMTK's options: its own certificate, and ours as the one that is trusted.
    fn dcmtk(&self) -> Vec<String> {
        let text = |path: &std::path::Path| path.display().to_string();
        let (key, certificate) = (text(&self.theirs_at.key), text(&self.theirs_at.certificate));
        vec![
            "+tls".into(),
            key,
            certificate,
            "+cf".into(),
            text(&self.ours_at.certificate),
        ]
    }

    fn python(&self, version: &'static str) -> PeerTls {
        PeerTls {
            own: self.theirs_at.clone(),
            trusts: Some(self.ours_at.certificate.clone()),
            version: Some(version),
        }
    }

    fn in_a_folder(&self, instances: &[Instance]) -> std::path::PathBuf {
        let folder = self.folder.path().join("study");
        std::fs::create_dir(&folder).unwrap();
        for (number, instance) in instances.iter().enumerate() {
            std::fs::write(folder.join(format!("{number}.dcm")), instance.to_part10()).unwrap();
        }
        folder
    }
}

async fn send(port: u16, tls: &TlsRequestor, instances: &[Instance]) -> String {
    let address = format!("127.0.0.1:{port}");
    let asked = RequestedAssociation::request_tls(&address, tls, &config(), contexts(instances)).await;
    let association = asked.unwrap();
    let version = association.tls().unwrap().version().to_owned();
    deliver(association, instances).await.unwrap();
    version
}

#[tokio::test]
async fn storescu_and_echoscu_come_in_with_their_certificate() {
    for peer in [Peer::Storescu, Peer::Echoscu] {
        let Some(_) = require(peer) else { return };
    }
    let (files, study) = (files(), study());
    let folder = files.in_a_folder(&study);
    let mut scp = Scp::start(Some(files.mutual_scp())).await;
    let port = scp.address.port();
    let echo = echoscu(port, "OURS").options(files.dcmtk());
    let finished = spawn_blocking(move || echo.run::<&str>(&[], SOON))
        .await
        .unwrap()
        .unwrap();
    assert!(finished.status.success(), "{}", finished.said());
    assert_eq!(scp.served().await.echoes, 1);
    let store = storescu(port, "OURS").options(files.dcmtk()).options(["+sd"]);
    let finished = spawn_blocking(move || store.run(&[folder], SOON))
        .await
        .unwrap()
        .unwrap();
    assert!(finished.status.success(), "{}", finished.said());
    let served = scp.served().await;
    assert!(served.ended.is_ok(), "{:?}", served.ended);
    // storescu writes data sets again before it sends them: only the instances are compared.
    let uids = |pairs: Vec<(String, String)>| pairs.into_iter().map(|(uid, _)| uid).collect::<Vec<_>>();
    assert_eq!(uids(served.stored), uids(expected(&study)));
}

#[tokio::test]
async fn storescu_without_a_certificate_comes_in_where_none_is_required_only() {
    let Some(_) = require(Peer::Echoscu) else { return };
    let files = files();
    let trust = files.ours_at.certificate.display().to_string();
    let anonymous = ["--anonymous-tls".to_owned(), "+cf".to_owned(), trust];
    for (tls, is_let_in) in [(acceptor(&files.ours), true), (files.mutual_scp(), false)] {
        let mut scp = Scp::start(Some(tls)).await;
        let echo = echoscu(scp.address.port(), "OURS").options(anonymous.clone());
        let finished = spawn_blocking(move || echo.run::<&str>(&[], SOON))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(finished.status.success(), is_let_in, "{}", finished.said());
        assert_eq!(scp.served().await.ended.is_ok(), is_let_in);
    }
}

#[tokio::test]
async fn storescp_keeps_every_byte() {
    let Some(_) = require(Peer::Storescp) else { return };
    let (files, study) = (files(), study());
    // Of peers it requires a certificate.
    let options = StorescpOptions {
        options: files.dcmtk(),
        ..StorescpOptions::default()
    };
    let target = spawn_blocking(|| Storescp::start(options)).await.unwrap().unwrap();
    send(target.port(), &files.mutual_scu(), &study).await;
    let mut stored: Vec<String> = target
        .files()
        .unwrap()
        .iter()
        .map(|file| dataset_sha256(file).unwrap())
        .collect();
    let mut sent: Vec<String> = study.iter().map(|instance| sha256(&instance.dataset)).collect();
    stored.sort();
    sent.sort();
    assert_eq!(stored, sent);
}

#[tokio::test]
async fn pynetdicom_comes_in_byte_for_byte_with_either_version() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let (files, study) = (files(), study());
    let folder = files.in_a_folder(&study);
    let mut scp = Scp::start(Some(files.mutual_scp())).await;
    for version in ["1.2", "1.3"] {
        let mut sender = Xscu::new(scp.address.port(), "OURS");
        sender.tls = Some(files.python(version));
        let folder = folder.clone();
        let report = spawn_blocking(move || sender.send(&folder, SOON))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (report.sent, report.not_sent),
            (study.len(), 0),
            "{}",
            report.finished.said()
        );
        let served = scp.served().await;
        assert!(served.ended.is_ok(), "{:?}", served.ended);
        assert_eq!(served.stored, expected(&study));
        assert_eq!(served.tls.unwrap().version(), format!("TLS {version}"));
    }
}

#[tokio::test]
async fn pynetdicom_gets_every_byte_with_either_version() {
    let Some(_) = require(Peer::Pynetdicom) else { return };
    let (files, study) = (files(), study());
    for version in ["1.2", "1.3"] {
        let options = XscpOptions {
            tls: Some(files.python(version)),
            ..XscpOptions::default()
        };
        let target = spawn_blocking(|| Xscp::start(options)).await.unwrap().unwrap();
        let spoken = send(target.port(), &files.mutual_scu(), &study).await;
        assert_eq!(spoken, format!("TLS {version}"));
        let instances = study.len();
        let log = spawn_blocking(move || target.wait_for(instances, SOON))
            .await
            .unwrap()
            .unwrap();
        let mut received: Vec<_> = log
            .iter()
            .map(|line| (line.sop_instance_uid.clone(), line.sha256.clone()))
            .collect();
        received.sort();
        assert_eq!(received, expected(&study));
    }
}

#[tokio::test]
async fn echoscu_on_the_wrong_port_is_told_apart() {
    let Some(_) = require(Peer::Echoscu) else { return };
    let files = files();
    let run = async |port: u16, options: Vec<String>| {
        let echo = echoscu(port, "OURS").options(options);
        let finished = spawn_blocking(move || echo.run::<&str>(&[], SOON))
            .await
            .unwrap()
            .unwrap();
        assert!(!finished.status.success(), "{}", finished.said());
    };
    let mut with_tls = Scp::start(Some(acceptor(&files.ours))).await;
    run(with_tls.address.port(), Vec::new()).await;
    assert_eq!(with_tls.served().await.tls_error(), &TlsError::PeerSpeaksDicom);
    let mut plain = Scp::start(None).await;
    run(plain.address.port(), files.dcmtk()).await;
    let ended = plain.served().await.ended;
    assert!(matches!(ended, Err(AssociationError::PeerSpeaksTls)), "{ended:?}");
}
