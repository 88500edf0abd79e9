//! The decoders over real instances. Skipped, and said so, where there is no corpus.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use dicom_encoding::adapters::NeverPixelAdapter;
use dicom_encoding::transfer_syntax::{Codec, Endianness, NeverAdapter, TransferSyntax};
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use packhorse_dicom::fuzzing;
use packhorse_dicom::header::{Header, ScanOutcome, VALUE_LEN_MAX};
use packhorse_dicom::part10::{self, FileMeta, Part10Error};
use packhorse_dicom::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE, Encoding, IMPLICIT_VR_LE, encoding_of};
use packhorse_dicom::uid::{InvalidUid, SopInstanceUid};
use packhorse_testkit::corpus;
use packhorse_testkit::instances::{ImageSize, Instance, Study};

const LAST_TAG: u32 = 0x0020_1208;
const SOUND: [&str; 5] = [
    "mix",
    "synth",
    "series-ct-philips",
    "series-mr-philips-mprage",
    "series-mr-canon-dti-small",
];

/// What a scan keeps, as another reader finds it; of a doubled element the last, as a map would have it.
#[derive(Debug, Default, PartialEq)]
struct Found {
    values: BTreeMap<u32, Vec<u8>>,
    number: Option<u32>,
}

impl From<&Header> for Found {
    fn from(header: &Header) -> Self {
        let kept = fields(header).into_iter();
        Self {
            values: kept
                .filter_map(|(tag, value)| Some((tag, value.as_ref()?.to_vec())))
                .collect(),
            number: header.number_of_study_related_instances,
        }
    }
}

fn fields(header: &Header) -> [(u32, &Option<Box<[u8]>>); 19] {
    [
        (0x0008_0005, &header.specific_character_set),
        (0x0008_0008, &header.image_type),
        (0x0008_0016, &header.sop_class_uid),
        (0x0008_0018, &header.sop_instance_uid),
        (0x0008_0020, &header.study_date),
        (0x0008_0030, &header.study_time),
        (0x0008_0050, &header.accession_number),
        (0x0008_0060, &header.modality),
        (0x0008_0070, &header.manufacturer),
        (0x0008_0080, &header.institution_name),
        (0x0008_1010, &header.station_name),
        (0x0008_1030, &header.study_description),
        (0x0008_103E, &header.series_description),
        (0x0010_0010, &header.patient_name),
        (0x0010_0020, &header.patient_id),
        (0x0010_0021, &header.issuer_of_patient_id),
        (0x0018_0015, &header.body_part_examined),
        (0x0020_000D, &header.study_instance_uid),
        (0x0020_000E, &header.series_instance_uid),
    ]
}

fn read_meta(bytes: &[u8]) -> Result<FileMeta, Part10Error> {
    part10::read_file_meta(bytes.get(..part10::BEGINNING_LEN).unwrap_or(bytes))
}

fn data_set<'a>(meta: &FileMeta, bytes: &'a [u8]) -> &'a [u8] {
    &bytes[usize::try_from(meta.data_set_offset).unwrap()..]
}

fn scan(meta: &FileMeta, bytes: &[u8]) -> Header {
    let mut scan = meta.header_scan();
    scan.push(data_set(meta, bytes));
    scan.finish()
}

/// The same as dicom-parser finds it; an error is where it gives up.
fn reference(encoding: Encoding, data_set: &[u8]) -> Result<Found, dicom_parser::dataset::lazy_read::Error> {
    let (order, explicit) = match encoding {
        Encoding::ImplicitLe => (Endianness::Little, false),
        Encoding::ExplicitBe => (Endianness::Big, true),
        Encoding::ExplicitLe | Encoding::Deflated => (Endianness::Little, true),
    };
    let syntax: TransferSyntax<NeverAdapter, NeverPixelAdapter, NeverPixelAdapter> =
        TransferSyntax::new("1.2", "any", order, explicit, Codec::None);
    let mut reader = LazyDataSetReader::new_with_ts(Cursor::new(data_set), &syntax.erased())?;
    let mut found = Found::default();
    let mut depth = 0_u32;
    while let Some(token) = reader.advance() {
        match token? {
            LazyDataToken::ElementHeader(header) if depth == 0 && tag(header.tag) > LAST_TAG => break,
            LazyDataToken::SequenceStart { tag: first, .. } if depth == 0 && tag(first) > LAST_TAG => break,
            LazyDataToken::PixelSequenceStart => break,
            LazyDataToken::SequenceStart { .. } | LazyDataToken::ItemStart { .. } => depth += 1,
            LazyDataToken::SequenceEnd | LazyDataToken::ItemEnd => depth -= 1,
            token @ LazyDataToken::LazyValue { .. } => keep(token, depth, &mut found),
            token => token.skip().unwrap(),
        }
    }
    Ok(found)
}

fn keep<D: dicom_parser::StatefulDecode>(token: LazyDataToken<D>, depth: u32, found: &mut Found) {
    let LazyDataToken::LazyValue { header, .. } = &token else {
        return;
    };
    let tag = tag(header.tag);
    let wanted = fields(&Header::default()).iter().any(|(field, _)| *field == tag);
    if depth > 0 || !(wanted || tag == LAST_TAG) {
        return token.skip().unwrap();
    }
    let mut value = Vec::new();
    token.read_value_into(&mut value).unwrap();
    if tag == LAST_TAG {
        let text = String::from_utf8_lossy(&value);
        found.number = text.trim_matches([' ', '\0']).parse().ok();
    } else if !value.is_empty() {
        value.truncate(VALUE_LEN_MAX);
        found.values.insert(tag, value);
    }
}

fn tag(tag: dicom_core::Tag) -> u32 {
    u32::from(tag.0) << 16 | u32::from(tag.1)
}

#[test]
fn the_scan_finds_what_dicom_parser_finds() {
    let Some(corpus) = corpus::require_or_skip("the_scan_finds_what_dicom_parser_finds") else {
        return;
    };
    for file in SOUND
        .iter()
        .flat_map(|folder| corpus::files(&corpus.join(folder)).unwrap())
    {
        let name = file.display();
        let bytes = fs::read(&file).unwrap();
        let meta = read_meta(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let header = scan(&meta, &bytes);
        let encoding = encoding_of(&meta.transfer_syntax);
        if encoding == Encoding::Deflated {
            // dicom-parser inflates nothing: tests/pydicom.rs compares these.
            continue;
        }
        let reference = reference(encoding, data_set(&meta, &bytes)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Found::from(&header), reference, "{name}");
        assert!(
            matches!(header.outcome, ScanOutcome::Complete | ScanOutcome::EndOfData),
            "{name}: {:?}",
            header.outcome
        );
    }
}

#[test]
fn odd_files_read_as_far_as_dicom_parser_reads_them() {
    let Some(odd) = Odd::find("odd_files_read_as_far_as_dicom_parser_reads_them") else {
        return;
    };
    let mut compared = 0;
    for file in corpus::files(&odd.folder).unwrap() {
        let bytes = fs::read(&file).unwrap();
        let Ok(meta) = read_meta(&bytes) else { continue };
        if let Ok(reference) = reference(encoding_of(&meta.transfer_syntax), data_set(&meta, &bytes)) {
            assert_eq!(Found::from(&scan(&meta, &bytes)), reference, "{}", file.display());
            compared += 1;
        }
    }
    assert!(compared > 25, "{compared}");
}

/// The folder of broken and strange files.
struct Odd {
    folder: PathBuf,
}

impl Odd {
    fn find(test: &str) -> Option<Self> {
        let folder = corpus::require_or_skip(test)?.join("odd");
        Some(Self { folder })
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap()
    }

    fn meta(&self, name: &str) -> Result<FileMeta, Part10Error> {
        read_meta(&self.bytes(name))
    }

    fn header(&self, name: &str) -> Header {
        scan(&self.meta(name).unwrap(), &self.bytes(name))
    }
}

#[test]
fn files_without_usable_meta_have_a_guessed_syntax() {
    let Some(odd) = Odd::find("files_without_usable_meta_have_a_guessed_syntax") else {
        return;
    };
    for (name, syntax, offset) in [
        ("pydicom-ExplVR_BigEndNoMeta.dcm", EXPLICIT_VR_BE, 0),
        ("pydicom-ExplVR_LitEndNoMeta.dcm", EXPLICIT_VR_LE, 0),
        ("pydicom-rtstruct.dcm", IMPLICIT_VR_LE, 0),
        ("dcmjs-sample-op.lei", IMPLICIT_VR_LE, 0),
        ("pydicom-meta_missing_tsyntax.dcm", IMPLICIT_VR_LE, 0xCA),
        ("pydicom-no_meta_group_length.dcm", IMPLICIT_VR_LE, 338),
        ("synth-meta-grouplen-zero.dcm", EXPLICIT_VR_LE, 336),
        ("pynetdicom-CTImageStorage_bad_meta.dcm", EXPLICIT_VR_LE, 302),
    ] {
        let meta = odd.meta(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (meta.transfer_syntax.as_str(), meta.data_set_offset),
            (syntax, offset),
            "{name}"
        );
    }
    assert_eq!(odd.meta("synth-not-dicom.jpg"), Err(Part10Error::NotDicom));
    assert_eq!(odd.meta("synth-meta-only.dcm"), Err(Part10Error::NoDataSet));
}

#[test]
fn the_data_set_says_which_class_and_instance_is_sent() {
    let Some(odd) = Odd::find("the_data_set_says_which_class_and_instance_is_sent") else {
        return;
    };
    let identity = |name| {
        let meta = odd.meta(name).unwrap().corrected_by_data_set(&odd.header(name));
        let class = meta.sop_class_uid.map(|uid| uid.as_str().to_owned());
        (class, meta.sop_instance_uid.map(|uid| uid.as_str().to_owned()))
    };
    let ct = Some("1.2.840.10008.5.1.4.1.1.2".to_owned());
    let instance = Some("1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322".to_owned());
    for name in [
        "synth-meta-uid-mismatch.dcm",
        "synth-no-sopclass.dcm",
        "synth-no-sopinstance.dcm",
        "synth-uid-empty.dcm",
        "pynetdicom-CTImageStorage_bad_meta.dcm",
    ] {
        assert_eq!(identity(name), (ct.clone(), instance.clone()), "{name}");
    }
    let bare = identity("dcmjs-sample-op.lei");
    assert!(bare.0.is_some() && bare.1.is_some());
}

#[test]
fn strange_uids_are_kept_as_they_came_or_refused() {
    let Some(odd) = Odd::find("strange_uids_are_kept_as_they_came_or_refused") else {
        return;
    };
    let instance = |name| SopInstanceUid::try_from(odd.header(name).sop_instance_uid.unwrap().as_ref());
    assert_eq!(instance("synth-uid-65.dcm"), Err(InvalidUid::Length(65)));
    assert!(instance("synth-uid-trailing-space.dcm").unwrap().is_valid());
    let traversal = instance("synth-uid-traversal.dcm").unwrap();
    assert!(!traversal.is_valid() && traversal.as_str().contains(".."));
}

#[test]
fn a_header_that_is_cut_or_claims_4_gib_keeps_what_came_before() {
    let Some(odd) = Odd::find("a_header_that_is_cut_or_claims_4_gib_keeps_what_came_before") else {
        return;
    };
    for name in ["synth-truncated-header.dcm", "synth-element-len-4g.dcm"] {
        let header = odd.header(name);
        assert_eq!(header.outcome, ScanOutcome::EndOfData, "{name}");
        assert!(header.sop_instance_uid.is_some(), "{name}");
    }
}

/// As far as the scan reads: byte by byte, in PDV-like pieces that no element's border falls together with, and cut in two at
/// some of the first bytes.
#[test]
fn every_file_of_the_corpus_reads_alike_in_pieces_of_any_size() {
    let Some(corpus) = corpus::require_or_skip("every_file_of_the_corpus_reads_alike_in_pieces_of_any_size") else {
        return;
    };
    let mut compared = 0;
    for file in corpus::files(&corpus).unwrap() {
        let bytes = fs::read(&file).unwrap();
        let Ok(meta) = read_meta(&bytes) else { continue };
        let whole = scan(&meta, &bytes);
        let data_set = data_set(&meta, &bytes);
        for piece_len in [1, 7, 1021] {
            assert_eq!(
                scan_pieces(&meta, data_set.chunks(piece_len)),
                whole,
                "{}",
                file.display()
            );
        }
        for (head, tail) in (0..data_set.len().min(600)).step_by(7).map(|at| data_set.split_at(at)) {
            assert_eq!(
                scan_pieces(&meta, [head, tail].into_iter()),
                whole,
                "{}",
                file.display()
            );
        }
        compared += 1;
    }
    assert!(compared > 600, "{compared}");
}

#[test]
fn made_instances_of_every_encoding_read_alike_wherever_they_are_cut() {
    let study = Study::new("pieces").declaring(3);
    let size = ImageSize { rows: 6, columns: 4 };
    let written = [study.clone(), study.clone().implicit(), study.clone().big_endian()];
    let of = |study: &Study| {
        [
            study.ct_slice(1, 1, size),
            study.raw_data(2, 1, 80),
            study.dose_sr(3, 1),
        ]
    };
    let deflated = of(&study).map(Instance::deflated);
    for instance in written.iter().flat_map(of).chain(deflated) {
        let meta = read_meta(&instance.to_part10()).unwrap();
        let whole = scan_pieces(&meta, [&instance.dataset[..]].into_iter());
        assert_eq!(whole.number_of_study_related_instances, Some(3));
        for at in 0..instance.dataset.len() {
            let (head, tail) = instance.dataset.split_at(at);
            assert_eq!(scan_pieces(&meta, [head, tail].into_iter()), whole, "{at}");
            assert_eq!(
                scan_pieces(&meta, [head].into_iter().chain(tail.chunks(1))),
                whole,
                "{at}"
            );
        }
    }
}

fn scan_pieces<'a>(meta: &FileMeta, pieces: impl Iterator<Item = &'a [u8]>) -> Header {
    let mut scan = meta.header_scan();
    pieces.for_each(|piece| scan.push(piece));
    scan.finish()
}

/// Also cut after each of the first bytes, where every element's border is.
#[test]
fn no_file_of_the_corpus_panics_a_decoder() {
    let Some(corpus) = corpus::require_or_skip("no_file_of_the_corpus_panics_a_decoder") else {
        return;
    };
    for file in corpus::files(&corpus).unwrap() {
        let bytes = fs::read(&file).unwrap();
        fuzzing::part10(&bytes);
        fuzzing::header(bytes.get(132..).unwrap_or(&bytes));
    }
    for file in corpus::files(&corpus.join("odd")).unwrap() {
        cut_everywhere(&file);
    }
}

fn cut_everywhere(file: &Path) {
    let bytes = fs::read(file).unwrap();
    for len in 0..bytes.len().min(2000) {
        fuzzing::part10(&bytes[..len]);
    }
}
