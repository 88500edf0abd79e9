//! Every instance of the corpus that can be converted, to everything it can be, beside pydicom and DCMTK. Skipped, and said
//! so, where there is no corpus or none of them.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use packhorse_convert::{ConvertError, Limits, convert, targets};
use packhorse_dicom::header::HeaderScan;
use packhorse_dicom::part10::{self, FileMeta};
use packhorse_dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE, Encoding, IMPLICIT_VR_LE, encoding_of,
};
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_testkit::corpus;
use packhorse_testkit::peers::{Peer, require};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const LIMITS: Limits = Limits { max: 64 << 20 };

/// A file of the corpus.
struct File {
    path: PathBuf,
    name: String,
    meta: FileMeta,
    data_set: Bytes,
}

impl File {
    fn read(folder: &Path, path: PathBuf) -> Option<Self> {
        let bytes = Bytes::from(fs::read(&path).unwrap());
        let meta = part10::read_file_meta(bytes.get(..part10::BEGINNING_LEN).unwrap_or(&bytes)).ok()?;
        let data_set = bytes.slice(usize::try_from(meta.data_set_offset).unwrap()..);
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        Some(Self {
            path,
            name,
            meta,
            data_set,
        })
    }

    fn syntax(&self) -> &TransferSyntaxUid {
        &self.meta.transfer_syntax
    }

    fn to(&self, to: &TransferSyntaxUid) -> Result<Bytes, ConvertError> {
        convert(self.data_set.clone(), self.syntax(), to, LIMITS).map(|converted| converted.data_set)
    }

    /// Writes a data set of this instance as a Part 10 file.
    fn write(&self, folder: &Path, data_set: &[u8], syntax: &TransferSyntaxUid) -> PathBuf {
        let mut scan = HeaderScan::new(encoding_of(syntax));
        scan.push(data_set);
        let meta = self.meta.clone().or_from_data_set(&scan.finish());
        let (class, instance) = (meta.sop_class_uid.unwrap(), meta.sop_instance_uid.unwrap());
        let mut bytes = part10::write_file_meta(&class, &instance, syntax);
        bytes.extend_from_slice(data_set);
        let name = self.name.replace('/', "_");
        let path = folder.join(format!("{name}.{}", syntax.as_str()));
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// One folder's files in place of hundreds that differ in pixels only.
fn files(folder: &Path) -> Vec<File> {
    let mut series = BTreeMap::new();
    let files = corpus::files(folder).unwrap().into_iter();
    let sampled = files.filter(|path| {
        let place = path.strip_prefix(folder).unwrap().to_str().unwrap();
        let count = series.entry(place.split('/').next().unwrap().to_owned()).or_insert(0);
        *count += 1;
        !place.starts_with("odd") && (!place.starts_with("series") || *count % 20 == 1)
    });
    sampled.filter_map(|path| File::read(folder, path)).collect()
}

fn syntax(uid: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::try_from(uid).unwrap()
}

/// What pydicom finds to differ: `how` is `elements` or `pixels`.
fn differing(python: &Path, pairs: &[(&str, PathBuf, PathBuf)]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pydicom/compare.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = pairs
        .iter()
        .map(|(how, a, b)| format!("{how}\t{}\t{}\n", a.display(), b.display()))
        .collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let said = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), pairs.len());
    said.into_iter()
        .filter(|pair| pair["differ"] != serde_json::json!([]))
        .collect()
}

/// Of the corpus, the one whose bytes are not what its syntax says: JPEG Baseline under the name of JPEG Lossless.
const UNCONVERTED: &str = "mix/Ophthalmic_Photography/0000_OP_ts.4.70_Heidelberg_Engineering.dcm";

#[test]
fn every_instance_that_is_not_lossy_is_converted_and_pydicom_reads_the_same_elements() {
    let test = "every_instance_that_is_not_lossy_is_converted_and_pydicom_reads_the_same_elements";
    let (Some(folder), Some(python)) = (corpus::require_or_skip(test), require(Peer::Pynetdicom)) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let mut pairs = Vec::new();
    for file in files(&folder) {
        for to in targets(file.syntax()) {
            match file.to(&to) {
                Ok(data_set) => pairs.push(("elements", file.path.clone(), file.write(out.path(), &data_set, &to))),
                Err(error) => assert_eq!(file.name, UNCONVERTED, "{error:?}"),
            }
        }
    }
    assert!(pairs.len() > 400, "{}", pairs.len());
    let differing = differing(&python, &pairs);
    assert!(differing.is_empty(), "{differing:#?}");
}

/// Their group lengths are wrong, and come out right.
const UNCANONICAL: [&str; 4] = [
    "mix/CT_Image_Storage/0005_CT_ts.1_x.dcm",
    "mix/Computed_Radiography_I/0004_CR_ts.1_Agfa_Gevaert_AG.dcm",
    "mix/Computed_Radiography_I/0005_CR_ts.1_Agfa_Gevaert_AG.dcm",
    "mix/MR_Image_Storage/0017_MR_ts.1_Philips_Medical_System.dcm",
];

/// From each uncompressed syntax over each other and back: the same bytes, but for what a syntax does not carry.
#[test]
fn what_was_converted_comes_back() {
    let Some(folder) = corpus::require_or_skip("what_was_converted_comes_back") else {
        return;
    };
    let (mut compared, mut others) = (0, BTreeSet::new());
    for file in files(&folder) {
        let is_native = targets(file.syntax()).len() == 3;
        for to in targets(file.syntax()).into_iter().filter(|_| is_native) {
            let there = file.to(&to).unwrap();
            let back = convert(there.clone(), &to, file.syntax(), LIMITS).unwrap().data_set;
            let again = convert(back.clone(), file.syntax(), &to, LIMITS).unwrap().data_set;
            assert_eq!(again, there, "{} over {to}", file.name);
            let is_vr_kept = to.as_str() != IMPLICIT_VR_LE && file.syntax().as_str() != DEFLATED_EXPLICIT_VR_LE;
            if is_vr_kept && back == file.data_set {
                compared += 1;
            } else if is_vr_kept {
                others.insert(file.name.clone());
            }
        }
    }
    assert_eq!(others.iter().map(String::as_str).collect::<Vec<_>>(), UNCANONICAL);
    assert!(compared > 150, "{compared}");
}

/// Pixels as DCMTK's decoders have them.
#[test]
fn decoded_pixels_are_those_of_dcmtk() {
    let test = "decoded_pixels_are_those_of_dcmtk";
    let (Some(folder), Some(_), Some(python)) = (
        corpus::require_or_skip(test),
        require(Peer::Storescu),
        require(Peer::Pynetdicom),
    ) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let to = syntax(EXPLICIT_VR_LE);
    let mut pairs = Vec::new();
    for file in files(&folder).iter().filter(|file| file.name != UNCONVERTED) {
        let Some(decoder) = decoder(file.syntax()) else {
            continue;
        };
        // Single bits are none of dcmdrle's, nor seven of dcmdjpls'.
        if file.name.contains("Segmentation") || file.name.contains("0004_x_ts.4.80_x") {
            continue;
        }
        let theirs = out.path().join(format!("{}.dcmtk", pairs.len()));
        run(decoder, &[], &file.path, &theirs);
        pairs.push(("pixels", file.write(out.path(), &file.to(&to).unwrap(), &to), theirs));
    }
    assert!(pairs.len() >= 15, "{}", pairs.len());
    let differing = differing(&python, &pairs);
    assert!(differing.is_empty(), "{differing:#?}");
}

fn decoder(syntax: &TransferSyntaxUid) -> Option<&'static str> {
    match syntax.as_str() {
        "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => Some("dcmdjpeg"),
        "1.2.840.10008.1.2.4.80" => Some("dcmdjpls"),
        "1.2.840.10008.1.2.5" => Some("dcmdrle"),
        _ => None,
    }
}

/// Of DCMTK, by full path.
fn run(program: &str, options: &[&str], from: &Path, to: &Path) {
    let program = Path::new("/usr/bin").join(program);
    let done = Command::new(&program).args(options).arg(from).arg(to).output().unwrap();
    assert!(
        done.status.success(),
        "{} {options:?} {}: {done:?}",
        program.display(),
        from.display()
    );
}

/// Encoded by DCMTK in every way it has, decoded here.
#[test]
fn what_dcmtk_encodes_decodes_to_what_it_was() {
    let test = "what_dcmtk_encodes_decodes_to_what_it_was";
    let (Some(folder), Some(_)) = (corpus::require_or_skip(test), require(Peer::Storescu)) else {
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let mut decoded = 0;
    for source in SOURCES {
        let source = folder.join(source);
        let native = pixels(&File::read(&folder, source.clone()).unwrap());
        for (encoder, options) in encoders() {
            let encoded = out.path().join("encoded");
            run(encoder, &options, &source, &encoded);
            let encoded = File::read(out.path(), encoded).unwrap();
            assert_eq!(targets(encoded.syntax()).len(), 4, "{}", encoded.syntax());
            assert_eq!(pixels(&encoded), native, "{encoder} {options:?} {}", source.display());
            decoded += 1;
        }
    }
    assert!(decoded > 40, "{decoded}");
}

/// Grey of 16 bits with and without sign, of 8, colour by pixel and by plane, several frames.
const SOURCES: [&str; 6] = [
    "series-ct-philips/0000_CT_ts.1_Philips.dcm",
    "mix/CT_Image_Storage/0005_CT_ts.1_x.dcm",
    "mix/Secondary_Capture_Imag/0011_OT_ts.1_OFFIS.dcm",
    "mix/Ultrasound_Image_Stora/0007_US_ts.1_G.E._Medical_Systems.dcm",
    "mix/Enhanced_MR_Color_Imag/0000_MR_ts.1_Siemens_Healthineers.dcm",
    "mix/Legacy_Converted_Enhan/0001_CT_ts.1_GE_Medical_Systems.dcm",
];

fn encoders() -> Vec<(&'static str, Vec<&'static str>)> {
    let predictors = ["1", "2", "3", "4", "5", "6", "7"].map(|selection| ("dcmcjpeg", vec!["+el", "+sv", selection]));
    let interleaved = ["+il", "+is", "+in"].map(|mode| ("dcmcjpls", vec!["+el", mode]));
    let others = [
        ("dcmcjpeg", vec!["+e1"]),
        ("dcmcjpeg", vec!["+e1", "+fs", "64"]),
        (
            "dcmcjpls",
            vec!["+el", "+t1", "5", "+t2", "9", "+t3", "33", "+rs", "32"],
        ),
        ("dcmcrle", vec![]),
        ("dcmcrle", vec!["+fs", "1"]),
    ];
    predictors.into_iter().chain(interleaved).chain(others).collect()
}

/// The value of Pixel Data in Explicit VR Little Endian.
fn pixels(file: &File) -> Bytes {
    let data_set = file.to(&syntax(EXPLICIT_VR_LE)).unwrap();
    let mut scan = HeaderScan::new(Encoding::ExplicitLe);
    scan.push(&data_set);
    let place = scan.finish().pixel_data.unwrap();
    let start = usize::try_from(place.offset).unwrap();
    data_set.slice(start..start + usize::try_from(place.len).unwrap())
}

/// JPEG 2000, of which DCMTK has no decoder; and few bits. The SHA-256 of native Pixel Data as OpenJPEG and GDCM decode
/// them (pylibjpeg-openjpeg 2.6.0, python-gdcm 3.2.6: the same for all; of seven bits CharLS 2.4), of single bits packed (PS3.5 section 8.1.1).
#[test]
fn decoded_pixels_are_those_of_openjpeg_and_gdcm() {
    let Some(folder) = corpus::require_or_skip("decoded_pixels_are_those_of_openjpeg_and_gdcm") else {
        return;
    };
    for (name, expected) in KNOWN {
        let file = File::read(&folder, folder.join("mix").join(name)).unwrap();
        let digest: String = Sha256::digest(pixels(&file))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(digest.starts_with(expected), "{name}: {digest}");
    }
}

const KNOWN: [(&str, &str); 20] = [
    ("Secondary_Capture_Imag/0004_x_ts.4.80_x.dcm", "210dc401f95d"),
    (
        "MR_Image_Storage/0012_MR_ts.4.90_Siemens_Healthineers.dcm",
        "a9345bd7333b",
    ),
    (
        "MR_Image_Storage/0013_MR_ts.4.90_Siemens_Healthineers.dcm",
        "909cfc3638f4",
    ),
    ("MR_Image_Storage/0016_MR_ts.4.90_SIEMENS.dcm", "e4943a308aba"),
    ("CT_Image_Storage/0004_CT_ts.4.90_x.dcm", "6b3b6bb553a0"),
    ("MR_Image_Storage/0022_MR_ts.4.90_Philips.dcm", "7d1a676f3c01"),
    (
        "Ultrasound_Image_Stora/0003_US_ts.4.90_G.E._Medical_Systems.dcm",
        "e16892020c73",
    ),
    ("CT_Image_Storage/0007_CT_ts.4.90_x.dcm", "a729f6fe1e75"),
    (
        "Segmentation_Storage/0001_SEG_ts.8.1_QIICR_compressed_with_.dcm",
        "b022303f9581",
    ),
    (
        "Segmentation_Storage/0002_SEG_ts.4.90_QIICR_compressed_with_.dcm",
        "b022303f9581",
    ),
    (
        "Segmentation_Storage/0004_SEG_ts.8.1_QIICR_compressed_with_.dcm",
        "63adc0fcf104",
    ),
    (
        "Segmentation_Storage/0005_SEG_ts.4.90_QIICR_compressed_with_.dcm",
        "63adc0fcf104",
    ),
    (
        "Segmentation_Storage/0006_SEG_ts.5_QIICR_compressed_with_.dcm",
        "63adc0fcf104",
    ),
    (
        "Segmentation_Storage/0007_SEG_ts.5_QIICR_compressed_with_.dcm",
        "b022303f9581",
    ),
    ("Secondary_Capture_Imag/0014_x_ts.4.90_x.dcm", "bea5673fdd49"),
    ("MR_Image_Storage/0023_MR_ts.4.90_TOSHIBA_MEC.dcm", "88617aaa4613"),
    ("CT_Image_Storage/0010_CT_ts.4.90_TOSHIBA.dcm", "5cfe7618c3a0"),
    ("CT_Image_Storage/0011_CT_ts.4.90_TOSHIBA.dcm", "587b5852a5d3"),
    ("Secondary_Capture_Imag/0032_MR_ts.4.90_TEST.dcm", "0a16b79a91d1"),
    ("Secondary_Capture_Imag/0033_MR_ts.4.90_TEST.dcm", "81b238c468d2"),
];
