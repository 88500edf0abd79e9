//! The header scan beside pydicom, over every file of the corpus and over made instances in every encoding: the ledger's
//! attributes byte for byte, and where native Pixel Data lies. Without corpus or pydicom this is skipped, and said so.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use packhorse_dicom::header::{Header, PixelData, PixelDataKind, VALUE_LEN_MAX};
use packhorse_dicom::part10::{self, FileMeta, Part10Error};
use packhorse_dicom::transfer_syntax::DEFLATED_EXPLICIT_VR_LE;
use packhorse_testkit::corpus;
use packhorse_testkit::instances::{ImageSize, Instance, Study};
use packhorse_testkit::peers::{Peer, require};
use serde_json::Value;

/// What both readers say of a file.
#[derive(Debug, Default, PartialEq)]
struct Said {
    /// Raw bytes in hex, cut as the scan cuts them.
    values: BTreeMap<String, String>,
    /// Attributes of Pixel Data are compared where it is native.
    numbers: BTreeMap<String, u64>,
    /// Tag, offset from the file's beginning, length.
    pixels: Option<(String, u64, u64)>,
}

const NUMBER_OF_STUDY_RELATED_INSTANCES: &str = "00201208";

impl Said {
    fn by_the_scan(meta: &FileMeta, header: &Header) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let values = kept(header)
            .into_iter()
            .filter_map(|(tag, value)| Some((tag.to_owned(), hex(value.as_deref()?))));
        let number = header.number_of_study_related_instances.map(u64::from);
        let mut numbers =
            BTreeMap::from_iter(number.map(|number| (NUMBER_OF_STUDY_RELATED_INSTANCES.to_owned(), number)));
        if let Some(pixel_data) = &header.pixel_data {
            numbers.extend(attributes(pixel_data).filter_map(|(tag, number)| Some((tag.to_owned(), number?))));
        }
        let place = |pixels: &PixelData| {
            (
                tag_of(pixels.kind),
                meta.data_set_offset + pixels.offset,
                u64::from(pixels.len),
            )
        };
        Self {
            values: values.collect(),
            numbers,
            pixels: header.pixel_data.as_ref().map(place),
        }
    }

    fn by_pydicom(said: &Value, deflated: bool) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let cut = |hex: String| hex.chars().take(2 * VALUE_LEN_MAX).collect();
        let members = |name: &str| said[name].as_object().unwrap().clone().into_iter();
        let pixels = said["pixels"].as_array().unwrap().first().filter(|_| !deflated);
        let of_the_image = |tag: &String| pixels.is_some() || tag == NUMBER_OF_STUDY_RELATED_INSTANCES;
        let numbers = members("numbers")
            .chain(members("shorts"))
            .filter(|(tag, _)| of_the_image(tag));
        Self {
            values: members("values").map(|(tag, value)| (tag, cut(text(&value)))).collect(),
            numbers: numbers.map(|(tag, value)| (tag, value.as_u64().unwrap())).collect(),
            pixels: pixels.map(|at| {
                (
                    text(&at["tag"]),
                    at["offset"].as_u64().unwrap(),
                    at["len"].as_u64().unwrap(),
                )
            }),
        }
    }
}

fn kept(header: &Header) -> [(&str, &Option<Box<[u8]>>); 19] {
    [
        ("00080005", &header.specific_character_set),
        ("00080008", &header.image_type),
        ("00080016", &header.sop_class_uid),
        ("00080018", &header.sop_instance_uid),
        ("00080020", &header.study_date),
        ("00080030", &header.study_time),
        ("00080050", &header.accession_number),
        ("00080060", &header.modality),
        ("00080070", &header.manufacturer),
        ("00080080", &header.institution_name),
        ("00081010", &header.station_name),
        ("00081030", &header.study_description),
        ("0008103e", &header.series_description),
        ("00100010", &header.patient_name),
        ("00100020", &header.patient_id),
        ("00100021", &header.issuer_of_patient_id),
        ("00180015", &header.body_part_examined),
        ("0020000d", &header.study_instance_uid),
        ("0020000e", &header.series_instance_uid),
    ]
}

fn attributes(pixel_data: &PixelData) -> impl Iterator<Item = (&'static str, Option<u64>)> {
    [
        ("00280002", pixel_data.samples_per_pixel.map(u64::from)),
        ("00280006", pixel_data.planar_configuration.map(u64::from)),
        ("00280008", pixel_data.number_of_frames.map(u64::from)),
        ("00280010", pixel_data.rows.map(u64::from)),
        ("00280011", pixel_data.columns.map(u64::from)),
        ("00280100", pixel_data.bits_allocated.map(u64::from)),
        ("00280103", pixel_data.pixel_representation.map(u64::from)),
    ]
    .into_iter()
}

fn tag_of(kind: PixelDataKind) -> String {
    let tag = match kind {
        PixelDataKind::Float => "7fe00008",
        PixelDataKind::DoubleFloat => "7fe00009",
        PixelDataKind::Integer => "7fe00010",
    };
    tag.to_owned()
}

fn scan(path: &Path) -> Result<(FileMeta, Header), Part10Error> {
    let bytes = fs::read(path).unwrap();
    let meta = part10::read_file_meta(bytes.get(..part10::BEGINNING_LEN).unwrap_or(&bytes))?;
    let mut scan = meta.header_scan();
    scan.push(&bytes[usize::try_from(meta.data_set_offset).unwrap()..]);
    Ok((meta, scan.finish()))
}

/// What pydicom says of each file, asked in one process.
fn ask_pydicom(python: &Path, files: &[PathBuf]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pydicom/read.py");
    let mut process = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let names: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
    let mut input = process.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(names.as_bytes()).unwrap());
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let said: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(said.len(), files.len());
    said
}

#[test]
fn the_scan_finds_in_every_file_of_the_corpus_what_pydicom_finds() {
    let test = "the_scan_finds_in_every_file_of_the_corpus_what_pydicom_finds";
    let (Some(corpus), Some(python)) = (corpus::require_or_skip(test), require(Peer::Pynetdicom)) else {
        return;
    };
    let files = corpus::files(&corpus).unwrap();
    let mut native = 0;
    for (file, said) in files.iter().zip(ask_pydicom(&python, &files)) {
        let same = compare(file, &said).unwrap_or_else(|difference| panic!("{}: {difference}", file.display()));
        native += usize::from(same.pixels.is_some());
    }
    assert!(files.len() > 600, "{}", files.len());
    assert!(native > 500, "{native}");
}

/// What both say; of a file without a data set, which pydicom is forced to read, nothing.
fn compare(file: &Path, said: &Value) -> Result<Said, String> {
    if let Some(error) = said.get("error") {
        return Err(format!("pydicom: {error}"));
    }
    let (ours, deflated) = match scan(file) {
        Ok((meta, header)) => (
            Said::by_the_scan(&meta, &header),
            meta.transfer_syntax.as_str() == DEFLATED_EXPLICIT_VR_LE,
        ),
        Err(Part10Error::NotDicom | Part10Error::NoDataSet) => (Said::default(), false),
        Err(error) => return Err(error.to_string()),
    };
    let theirs = Said::by_pydicom(said, deflated);
    if ours == theirs {
        Ok(ours)
    } else {
        Err(format!("{ours:?}\npydicom: {theirs:?}"))
    }
}

fn made_instances() -> Vec<(&'static str, Instance)> {
    let study = Study::new("pydicom").declaring(5);
    let encodings = [
        ("explicit", study.clone()),
        ("implicit", study.clone().implicit()),
        ("big-endian", study.clone().big_endian()),
    ];
    let size = ImageSize { rows: 40, columns: 30 };
    let of = |study: &Study| {
        [
            study.ct_slice(1, 1, size),
            study.raw_data(2, 1, 70_001),
            study.dose_sr(3, 1),
            study.secondary_capture(4, 1, size),
        ]
    };
    let plain = encodings
        .iter()
        .flat_map(|(name, study)| of(study).map(|instance| (*name, instance)));
    plain
        .chain(of(&study).map(|instance| ("deflated", instance.deflated())))
        .collect()
}

#[test]
fn the_scan_finds_in_made_instances_of_every_encoding_what_pydicom_finds() {
    let Some(python) = require(Peer::Pynetdicom) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let instances = made_instances();
    let files: Vec<_> = (0..instances.len())
        .map(|number| folder.path().join(number.to_string()))
        .collect();
    for (file, (_, instance)) in files.iter().zip(&instances) {
        fs::write(file, instance.to_part10()).unwrap();
    }
    let mut native = 0;
    for ((file, said), (encoding, instance)) in files.iter().zip(ask_pydicom(&python, &files)).zip(&instances) {
        let name = format!("{encoding} {}", instance.sop_class_uid.as_str());
        let same = compare(file, &said).unwrap_or_else(|difference| panic!("{name}: {difference}"));
        native += usize::from(same.pixels.is_some());
        assert_eq!(said["numbers"][NUMBER_OF_STUDY_RELATED_INSTANCES], 5, "{name}");
        let (_, header) = scan(file).unwrap();
        assert_eq!(header.number_of_study_related_instances, Some(5), "{name}");
        if let Some(pixel_data) = header.pixel_data {
            assert_eq!((pixel_data.rows, pixel_data.columns), (Some(40), Some(30)), "{name}");
        }
    }
    assert_eq!(native, 6, "two images in each of three encodings");
}
