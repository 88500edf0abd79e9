use std::collections::HashSet;
use std::io::Read as _;

use packhorse_dicom::header::{Header, HeaderScan, ScanOutcome};
use packhorse_dicom::transfer_syntax::encoding_of;

use super::*;

fn scan(instance: &Instance) -> Header {
    let mut scan = HeaderScan::new(encoding_of(&instance.transfer_syntax));
    scan.push(&instance.dataset);
    scan.finish()
}

fn value(bytes: Option<&[u8]>) -> &str {
    str::from_utf8(bytes.unwrap()).unwrap().trim_end_matches('\0')
}

#[test]
fn every_instance_says_in_its_data_set_what_it_says_beside_it() {
    let study = Study::new("a").declaring(9);
    for study in [study.clone(), study.clone().implicit(), study.big_endian()] {
        for instance in [
            Study::new("a")
                .declaring(9)
                .ct_slice(1, 3, ImageSize::default())
                .deflated(),
            study.ct_slice(1, 2, ImageSize::default()),
            study.secondary_capture(2, 1, ImageSize { rows: 5, columns: 7 }),
            study.raw_data(3, 1, 1001),
            study.dose_sr(4, 1),
        ] {
            let header = scan(&instance);
            assert_eq!(header.outcome, ScanOutcome::Complete);
            assert_eq!(value(header.sop_class_uid.as_deref()), instance.sop_class_uid.as_str());
            assert_eq!(
                value(header.sop_instance_uid.as_deref()),
                instance.sop_instance_uid.as_str()
            );
            assert_eq!(
                value(header.study_instance_uid.as_deref()),
                instance.study_instance_uid.as_str()
            );
            assert_eq!(
                value(header.series_instance_uid.as_deref()),
                instance.series_instance_uid.as_str()
            );
            assert_eq!(header.number_of_study_related_instances, Some(9));
            assert!(instance.sop_instance_uid.is_valid());
            assert_eq!(instance.dataset.len() % 2, 0);
        }
    }
}

#[test]
fn a_file_reads_back() {
    let instance = Study::new("file").ct_slice(1, 1, ImageSize::default());
    let file = instance.to_part10();
    let meta = part10::read_file_meta(&file).unwrap();
    assert_eq!(meta.sop_instance_uid.as_ref(), Some(&instance.sop_instance_uid));
    assert_eq!(meta.transfer_syntax, instance.transfer_syntax);
    assert_eq!(
        &file[usize::try_from(meta.data_set_offset).unwrap()..],
        instance.dataset
    );
}

#[test]
fn the_demo_study_has_two_images_one_raw_data_and_one_dose_report_and_says_four() {
    let study = demo_study();
    let classes: Vec<_> = study.iter().map(|instance| instance.sop_class_uid.as_str()).collect();
    assert_eq!(
        classes,
        [
            CT_IMAGE_STORAGE,
            CT_IMAGE_STORAGE,
            RAW_DATA_STORAGE,
            XRAY_RADIATION_DOSE_SR_STORAGE
        ]
    );
    let instances: HashSet<_> = study.iter().map(|instance| &instance.sop_instance_uid).collect();
    assert_eq!(instances.len(), 4);
    assert!(
        study
            .iter()
            .all(|instance| instance.study_instance_uid == study[0].study_instance_uid)
    );
    assert!(
        study
            .iter()
            .all(|instance| scan(instance).number_of_study_related_instances == Some(4))
    );
    assert_eq!(study, demo_study());
}

#[test]
fn a_large_instance_is_the_same_in_pieces_of_any_size() {
    let large = LargeInstance::new(&Study::new("large"), 1, 1_200_000);
    let mut whole = Vec::new();
    large.clone().read_to_end(&mut whole).unwrap();
    assert_eq!(u64::try_from(whole.len()).unwrap(), large.len());
    assert!(large.len() > 1_200_000);
    for chunk_len in [1021, 65_536, 10_000_000] {
        assert!(
            large.clone().chunks(chunk_len).flatten().eq(whole.iter().copied()),
            "{chunk_len}"
        );
    }
    let mut scan = HeaderScan::new(encoding_of(&large.transfer_syntax));
    scan.push(&whole);
    assert_eq!(
        value(scan.finish().sop_instance_uid.as_deref()),
        large.sop_instance_uid.as_str()
    );
}

#[test]
fn a_gibibyte_is_declared_and_not_held() {
    let large = LargeInstance::new(&Study::new("large"), 1, 1 << 30);
    assert!(large.len() >= 1 << 30);
    assert!(large.head.len() + large.frame.len() < 1 << 20);
}

#[test]
fn uids_are_from_uuids_and_follow_from_the_seed() {
    assert_eq!(uid("x"), uid("x"));
    assert_ne!(uid("x"), uid("y"));
    assert!(uid("x").len() <= 44);
}
