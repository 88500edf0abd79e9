use std::os::unix::fs::PermissionsExt as _;

use packhorse_ids::Priority;
use packhorse_ledger::fact::InstanceReceived;
use packhorse_ledger::{Fact, Identity};
use packhorse_testkit::sinks::{HttpRequest, HttpSink, SmtpSink};
use serde_json::Value;

use super::*;
use crate::notices::tests::notice;
use crate::notices::{Notice, NoticeKind};
use crate::testing::{Edge, eventually};

/// Short times.
const TIMES: &str = "[notices]\nretry_min = \"10ms\"\nretry_max = \"20ms\"\ngather = \"20ms\"\n";

fn webhook(sink: &HttpSink, more: &str) -> String {
    format!(
        "{TIMES}{more}[[notify]]\nname = \"ops\"\nwebhook = \"http://{}/hook\"\n",
        sink.address()
    )
}

/// Tells notices until `is_done`.
async fn tell_until(edge: &Edge, is_done: impl Fn() -> bool) {
    let working = tokio::spawn(keep(Arc::clone(&edge.shared)));
    eventually("what was waited for", async || is_done()).await;
    edge.shared.stop.cancel();
    working.await.unwrap();
}

fn is_empty(edge: &Edge) -> bool {
    edge.shared.spool.counts().is_empty()
}

fn body(request: &HttpRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[tokio::test]
async fn a_webhook_that_fails_twice_is_told_once_with_one_id() {
    let sink = HttpSink::start(&[500, 429]).unwrap();
    let edge = Edge::new("a", &webhook(&sink, ""));
    edge.shared.notify(notice(NoticeKind::Failed, "1")).await;
    tell_until(&edge, || is_empty(&edge)).await;
    let requests = sink.requests();
    let statuses: Vec<_> = requests.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [500, 429, 204]);
    let id = body(&requests[0])["id"].as_str().unwrap().to_owned();
    for request in &requests {
        assert_eq!(request.header("idempotency-key"), Some(id.as_str()));
        let body = body(request);
        assert_eq!(
            (&body["v"], &body["kind"], &body["site"]),
            (&1.into(), &"failed".into(), &"a".into())
        );
        assert!(body.get("patient").is_none());
    }
    assert!(requests[0].head[0].starts_with("POST /hook "));
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let kept = edge
        .shared
        .ledger(|projection| projection.notices(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (kept[0].told[0].channel.as_str(), &kept[0].told[0].failure),
        ("ops", &None)
    );
}

#[tokio::test]
async fn what_nobody_takes_is_given_up_in_the_end_and_that_is_on_record() {
    let sink = HttpSink::start(&[500; 1000]).unwrap();
    let edge = Edge::new("a", &webhook(&sink, "give_up = \"100ms\"\n"));
    edge.shared.notify(notice(NoticeKind::Failed, "1")).await;
    tell_until(&edge, || is_empty(&edge)).await;
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let told = edge
        .shared
        .ledger(|projection| projection.notices(10))
        .await
        .unwrap()
        .unwrap();
    let failure = told[0].told[0].failure.as_deref();
    assert!(failure.is_some_and(|why| why.contains("500")), "{failure:?}");
    let state = edge.shared.notices.state("ops");
    assert!(state.failing.is_some_and(|failing| failing.why.contains("500")));
}

#[tokio::test]
async fn more_than_the_ration_is_summed_up_in_one() {
    let sink = HttpSink::start(&[]).unwrap();
    let edge = Edge::new("a", &webhook(&sink, "ration = 3\n"));
    for number in 0..40 {
        let kind = if number % 4 == 0 {
            NoticeKind::Late
        } else {
            NoticeKind::Failed
        };
        edge.shared.notify(notice(kind, &number.to_string())).await;
    }
    tell_until(&edge, || is_empty(&edge)).await;
    let told: Vec<_> = sink.requests().iter().map(body).collect();
    assert_eq!(told.len(), 3);
    assert_eq!(
        (&told[0]["kind"], &told[1]["kind"]),
        (&"late".into(), &"late".into()),
        "what is urgent goes first"
    );
    assert_eq!(told[2]["kind"], "several");
    let what = told[2]["what"].as_str().unwrap();
    assert!(what.starts_with("38 more: 30 failed, 8 late; late: what of "), "{what}");
    assert_eq!(told[2]["fields"]["counts"]["late"], 8);
    // It is an hour's, also after a restart.
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let mut courier = Courier::new(Arc::clone(&edge.shared), edge.shared.channels().next().unwrap().clone());
    courier.remember().await;
    assert!(matches!(courier.look().await.unwrap(), After::Pause(pause) if pause > Duration::from_secs(3000)));
}

/// An edge whose ledger has a study of Eva Müller.
async fn with_a_patient(toml: &str) -> Edge {
    let edge = Edge::new("a", toml);
    let delivery = edge.spool_outgoing("b").await;
    let facts = edge.shared.spool.facts_after(0, 10).await.unwrap();
    let Fact::InstanceReceived(received) = Fact::from_bytes(&facts[0].1).unwrap() else {
        panic!("another fact")
    };
    let named = Fact::InstanceReceived(Box::new(InstanceReceived {
        delivery: DeliveryId::from_bytes([9; 16]),
        identity: Identity {
            patient_id: "4711".to_owned(),
            patient_name: "Müller^Eva".to_owned(),
            ..Identity::default()
        },
        ..*received
    }));
    let shared = &edge.shared;
    shared
        .spool
        .commit(shared.epoch, Vec::new(), fact_bytes(&named).into_iter().collect())
        .await
        .unwrap();
    shared
        .spool
        .settle(shared.epoch, vec![(delivery, Settlement::Released)], Vec::new())
        .await
        .unwrap();
    crate::ledger::catch_up(shared).await.unwrap();
    edge
}

#[tokio::test]
async fn a_patient_is_named_only_to_who_asked_for_it() {
    let sinks = [HttpSink::start(&[]).unwrap(), HttpSink::start(&[]).unwrap()];
    let channel = |name: &str, sink: &HttpSink, more: &str| {
        format!(
            "[[notify]]\nname = \"{name}\"\nwebhook = \"http://{}/\"\n{more}",
            sink.address()
        )
    };
    let toml = [
        TIMES.to_owned(),
        channel("without", &sinks[0], ""),
        channel("with", &sinks[1], "include_patient = true\n"),
    ];
    let edge = with_a_patient(&toml.concat()).await;
    edge.shared.notify(notice(NoticeKind::Failed, "1")).await;
    tell_until(&edge, || is_empty(&edge)).await;
    let text = |sink: &HttpSink| String::from_utf8(sink.requests()[0].body.clone()).unwrap();
    assert!(!text(&sinks[0]).contains("ller") && !text(&sinks[0]).contains("4711"));
    let named = body(&sinks[1].requests()[0]);
    assert_eq!(named["patient"]["patient_name"], "Müller^Eva");
    assert_eq!(named["fields"]["study"], "1.2.3");
}

#[tokio::test]
async fn a_command_gets_json_on_its_standard_input_and_its_exit_code_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (script, out) = (folder.path().join("tell"), folder.path().join("out"));
    // It fails the first time.
    let text = format!(
        "#!/bin/sh\nif [ ! -e {0}.once ]; then : > {0}.once; echo not yet >&2; exit 7; fi\n\
         echo \"$#:$1\" >> {0}\ncat >> {0}\n",
        out.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let toml = format!(
        "{TIMES}[[notify]]\nname = \"ops\"\ncommand = [\"{}\", \"a b; $(c)\"]\n",
        script.display()
    );
    let edge = Edge::new("a", &toml);
    let channel = edge.shared.channels().next().unwrap().clone();
    let telling = Telling::test(&edge.shared);
    let answer = channel::tell(&edge.shared, &channel, &telling).await;
    assert_eq!(answer, Err("exit code 7: not yet".to_owned()));
    let hostile = Notice {
        what: "$(touch /tmp/x); `id`".to_owned(),
        ..notice(NoticeKind::Failed, "1")
    };
    edge.shared.notify(hostile).await;
    tell_until(&edge, || is_empty(&edge)).await;
    let written = std::fs::read_to_string(&out).unwrap();
    let (arguments, json) = written.split_once('\n').unwrap();
    assert_eq!(arguments, "1:a b; $(c)", "no shell looks at them");
    let told: Value = serde_json::from_str(json).unwrap();
    assert_eq!(told["what"], "$(touch /tmp/x); `id`");
}

#[tokio::test]
async fn a_command_whose_child_holds_standard_error_is_told_when_it_ends_itself() {
    let command = r#"["/bin/sh", "-c", "echo said >&2; sleep 8 & exit $0", "#;
    for (code, expected) in [
        (0, Ok("exit code 0".to_owned())),
        (3, Err("exit code 3: said".to_owned())),
    ] {
        let toml = format!("[[notify]]\nname = \"ops\"\ntimeout = \"6s\"\ncommand = {command}\"{code}\"]\n");
        let edge = Edge::new("a", &toml);
        let channel = edge.shared.channels().next().unwrap().clone();
        let answer = channel::tell(&edge.shared, &channel, &Telling::test(&edge.shared)).await;
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn a_command_that_hangs_is_killed() {
    let toml = "[[notify]]\nname = \"ops\"\ntimeout = \"50ms\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
    let edge = Edge::new("a", toml);
    let channel = edge.shared.channels().next().unwrap().clone();
    let answer = channel::tell(&edge.shared, &channel, &Telling::test(&edge.shared)).await;
    assert_eq!(answer, Err("no answer within 50ms".to_owned()));
}

#[tokio::test]
async fn an_email_is_sent_again_until_the_server_takes_it() {
    let sink = SmtpSink::start(1, None).unwrap();
    let toml = format!(
        "{TIMES}[[notify]]\nname = \"night\"\nemail = {{ smtp = \"127.0.0.1:{}\", security = \"none\", \
         from = \"Packhorse <edge@clinic.example>\", to = [\"pacs@clinic.example\", \"b@clinic.example\"] }}\n",
        sink.address().port()
    );
    let edge = Edge::new("a", &toml);
    edge.shared.notify(notice(NoticeKind::Failed, "1")).await;
    tell_until(&edge, || is_empty(&edge)).await;
    let mails = sink.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].from, "<edge@clinic.example>");
    assert_eq!(mails[0].to, ["<pacs@clinic.example>", "<b@clinic.example>"]);
    for part in [
        "Subject: [packhorse a] failed: what of 1\n",
        "Auto-Submitted: auto-generated\n",
        "@a.packhorse>\n",
        "To do: do\n",
        "1.2.3\n",
    ] {
        assert!(mails[0].text.contains(part), "{part:?} is not in {}", mails[0].text);
    }
}

#[tokio::test]
async fn notices_for_a_channel_that_is_gone_are_put_away() {
    let sink = HttpSink::start(&[500; 1000]).unwrap();
    let edge = Edge::new("a", &webhook(&sink, ""));
    edge.shared.notify(notice(NoticeKind::Failed, "1")).await;
    sweep(&edge.shared).await;
    assert!(!is_empty(&edge), "it is not gone");
    let (old, body) = (queue_of("old"), Bytes::from_static(b"{}"));
    let entry = edge
        .shared
        .entry(DeliveryId::from_bytes([1; 16]), old, Priority::Routine, body);
    edge.shared
        .spool
        .commit(edge.shared.epoch, vec![entry], Vec::new())
        .await
        .unwrap();
    sweep(&edge.shared).await;
    let counts = edge.shared.spool.counts();
    assert_eq!(
        counts.iter().map(|count| count.queue.as_str()).collect::<Vec<_>>(),
        ["notify/ops"]
    );
}

/// A server's TLS with a certificate of its own, whose PEM is in the folder.
fn tls_server(folder: &std::path::Path) -> Arc<rustls::ServerConfig> {
    use packhorse_testkit::certs::CertSpec;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let cert = CertSpec::new("localhost").name("localhost").for_servers().self_signed();
    let files = cert.write(folder, "server").unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.unwrap())
}

#[tokio::test]
async fn an_email_goes_over_starttls_with_its_password_and_only_to_the_server_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let config = tls_server(folder.path());
    let starttls = move |stream: std::net::TcpStream| {
        let session = rustls::ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
        let stream: Box<dyn packhorse_testkit::sinks::Both> = Box::new(rustls::StreamOwned::new(session, stream));
        Ok(stream)
    };
    let sink = SmtpSink::start(0, Some(Arc::new(starttls))).unwrap();
    std::fs::write(folder.path().join("password"), "geheim\n").unwrap();
    let toml = |trust: &str| {
        format!(
            "[[notify]]\nname = \"night\"\n{trust}email = {{ smtp = \"localhost:{}\", from = \"edge@clinic.example\", \
             to = [\"pacs@clinic.example\"], user = \"edge\", password_file = \"{}\" }}\n",
            sink.address().port(),
            folder.path().join("password").display()
        )
    };
    let trusting = toml(&format!("trust = \"{}\"\n", folder.path().join("server.pem").display()));
    for (toml, is_told) in [(toml(""), false), (trusting, true)] {
        let edge = Edge::new("a", &toml);
        let channel = edge.shared.channels().next().unwrap().clone();
        let answer = channel::tell(&edge.shared, &channel, &Telling::test(&edge.shared)).await;
        assert_eq!(answer.is_ok(), is_told, "{answer:?}");
    }
    let mails = sink.mails();
    assert_eq!(mails.len(), 1);
    // \0edge\0geheim, in base64.
    assert_eq!(mails[0].auth.as_deref(), Some("AUTH PLAIN AGVkZ2UAZ2VoZWlt"));
}

/// Answers every request over TLS with 204.
fn https_server(config: Arc<rustls::ServerConfig>) -> u16 {
    use std::io::{Read as _, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|length| length > 0) {
                drop(stream.write_all(b"HTTP/1.1 204 Told\r\nConnection: close\r\n\r\n"));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    port
}

#[tokio::test]
async fn a_webhook_over_tls_is_told_only_when_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let port = https_server(tls_server(folder.path()));
    let pem = folder.path().join("server.pem");
    for (trust, expected) in [
        (String::new(), Err("certificate")),
        (format!("trust = \"{}\"\n", pem.display()), Ok("answered 204")),
    ] {
        // What stands behind the host may be a key.
        let toml = format!("[[notify]]\nname = \"ops\"\n{trust}webhook = \"https://localhost:{port}/geheim\"\n");
        let edge = Edge::new("a", &toml);
        let channel = edge.shared.channels().next().unwrap().clone();
        let answer = channel::tell(&edge.shared, &channel, &Telling::test(&edge.shared)).await;
        match (&answer, expected) {
            (Ok(said), Ok(words)) => assert!(said.contains(words), "{said}"),
            (Err(said), Err(words)) => {
                assert!(said.contains(words) && !said.contains("geheim"), "{said}");
            }
            _ => panic!("{answer:?}"),
        }
        assert_eq!(
            channel::address(&channel.way),
            format!("webhook at https://localhost:{port}")
        );
    }
}
