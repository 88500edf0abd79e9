//! A PACS that takes only Implicit VR Little Endian, with `on_refused_syntax = "convert"`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use packhorse_convert::{Limits, convert};
use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_testkit::corpus;
use packhorse_testkit::instances::{ImageSize, Study};
use packhorse_testkit::peers::{LogLine, Peer, Xscp, XscpOptions, require, sha256};

use crate::instances::{Instance, read_all};
use crate::support::{Host, ROUTE, Setup, Sites};

/// Of the corpus: RLE, JPEG Lossless with two predictors, JPEG-LS, JPEG 2000 lossless in colour, Deflated, Explicit VR Big
/// Endian, and private sequences.
const LOSSLESS: [&str; 8] = [
    "Ultrasound_Multi_frame/0002_US_ts.5_ACME_Products.dcm",
    "Ultrasound_Multi_frame/0004_US_ts.4.70_Medistim.dcm",
    "MR_Image_Storage/0063_MR_ts.4.57_Philips_Medical_System.dcm",
    "MR_Image_Storage/0014_MR_ts.4.80_SIEMENS.dcm",
    "Ultrasound_Image_Stora/0003_US_ts.4.90_G.E._Medical_Systems.dcm",
    "Secondary_Capture_Imag/0018_OT_ts.1.99_x.dcm",
    "MR_Image_Storage/0060_MR_ts.2_GE_MEDICAL_SYSTEMS.dcm",
    "Enhanced_MR_Image_Stor/0007_MR_ts.1_Philips_Medical_System.dcm",
];
/// Of the corpus, with the words why it is not converted.
const REFUSED: [(&str, &str); 4] = [
    (
        "Secondary_Capture_Imag/0015_OT_ts.4.50_x.dcm",
        "JPEG Baseline (Process 1) is or may be lossy, and is never converted",
    ),
    (
        "Secondary_Capture_Imag/0012_SC_ts.4.91_x.dcm",
        "JPEG 2000 Image Compression is or may be lossy, and is never converted",
    ),
    (
        "Secondary_Capture_Imag/0002_x_ts.4.201_x.dcm",
        "is not decoded by this version",
    ),
    (
        "Ophthalmic_Photography/0000_OP_ts.4.70_Heidelberg_Engineering.dcm",
        "its pixels are not decoded: the stream is lossy",
    ),
];

/// What is sent, and what of it the PACS cannot get, with the words.
fn write_instances(folder: &Path) -> BTreeMap<String, &'static str> {
    let study = Study::new("converted");
    let size = ImageSize::square(32);
    let made = [
        study.ct_slice(1, 1, size),
        study.clone().implicit().ct_slice(1, 2, size),
        study.clone().big_endian().ct_slice(1, 3, size),
        study.dose_sr(3, 1),
        study.ct_slice(1, 4, size).deflated(),
    ];
    for (number, instance) in made.iter().enumerate() {
        fs::write(folder.join(format!("made-{number}")), instance.to_part10()).unwrap();
    }
    let mut refused = BTreeMap::new();
    let test = "a_pacs_of_implicit_vr_gets_all_that_loses_nothing (but for made instances)";
    let Some(mix) = corpus::require_or_skip(test).map(|corpus| corpus.join("mix")) else {
        return refused;
    };
    for (number, name) in LOSSLESS.iter().enumerate() {
        fs::copy(mix.join(name), folder.join(format!("real-{number}"))).unwrap();
    }
    for (number, (name, words)) in REFUSED.into_iter().enumerate() {
        fs::copy(mix.join(name), folder.join(format!("refused-{number}"))).unwrap();
        refused.insert(Instance::read(&mix.join(name)).unwrap().uid, words);
    }
    refused
}

/// The data set as the PACS kept it, behind its file meta group.
fn kept(target: &Xscp, line: &LogLine) -> Vec<u8> {
    Instance::read(&target.file_of(line)).unwrap().data
}

fn implicit(instance: &Instance) -> Vec<u8> {
    let syntax = |uid: &str| TransferSyntaxUid::try_from(uid).unwrap();
    let data = Bytes::from(instance.data.clone());
    let limits = Limits { max: 64 << 20 };
    let converted = convert(data, &syntax(&instance.syntax), &syntax(IMPLICIT_VR_LE), limits).unwrap();
    converted.data_set.to_vec()
}

#[test]
fn a_pacs_of_implicit_vr_gets_all_that_loses_nothing() {
    if require(Peer::Pynetdicom).is_none() {
        return;
    }
    let options = XscpOptions {
        only_transfer_syntaxes: vec![IMPLICIT_VR_LE.to_owned()],
        ..XscpOptions::default()
    };
    let target = Xscp::start(options).unwrap();
    let setup = Setup {
        in_destination: "on_refused_syntax = \"convert\"",
        ..Setup::default()
    };
    let sites = Sites::start(target.port(), &setup);
    let folder = tempfile::tempdir().unwrap();
    let refused = write_instances(folder.path());
    let instances = read_all(folder.path());
    sites.said(Host::A, &["send", folder.path().to_str().unwrap(), "--to", ROUTE]);
    sites.wait_until_quiet();

    let log = target.log().unwrap();
    assert_eq!(log.len(), instances.len() - refused.len());
    let deliveries = sites.deliveries(Host::A);
    for instance in &instances {
        let said = deliveries
            .iter()
            .find(|delivery| delivery["sop_instance"] == instance.uid);
        let said = said.unwrap();
        assert_eq!(said["sha256"], instance.sha256, "{}", instance.name);
        if let Some(words) = refused.get(&instance.uid) {
            let reason = said["reason"].as_str().unwrap();
            assert!(
                reason.contains("transfer syntaxes not supported (4); not converted: "),
                "{reason}"
            );
            assert!(reason.contains(words), "{reason}");
            assert_eq!(said["state"], "failed");
            continue;
        }
        let line = log.iter().find(|line| line.sop_instance_uid == instance.uid).unwrap();
        assert_eq!(
            (line.transfer_syntax.as_str(), line.status.as_str()),
            (IMPLICIT_VR_LE, "0000")
        );
        assert_eq!(said["state"], "delivered", "{}", instance.name);
        let expected = implicit(instance);
        assert_eq!(kept(&target, line), expected, "{}", instance.name);
        if instance.syntax == IMPLICIT_VR_LE {
            assert_eq!(
                (&said["identical"], &said["converted"]),
                (&true.into(), &serde_json::Value::Null)
            );
        } else {
            assert_eq!(
                (&said["identical"], &said["converted"]["sha256"]),
                (&false.into(), &line.sha256.clone().into())
            );
            assert_eq!(said["converted"]["transfer_syntax"], IMPLICIT_VR_LE);
            assert_eq!(line.sha256, sha256(&expected));
        }
    }
    let study = deliveries
        .iter()
        .find(|delivery| delivery["converted"].is_object())
        .unwrap();
    let printed = sites.said(Host::A, &["study", study["study"].as_str().unwrap()]);
    assert!(printed.contains("converted to Implicit VR Little Endian"), "{printed}");
    assert!(
        printed.contains(study["converted"]["sha256"].as_str().unwrap()),
        "{printed}"
    );
}
