//! Rules that cannot do what their writer meant.

use super::*;

/// The paths of what is wrong with these rules of callers PACS_A and CT_* for the routes ST_MARY and JPEG.
fn wrong(rules: &str) -> Vec<String> {
    let problems = problems(rules);
    problems.into_iter().map(|error| error.path).collect()
}

fn problems(rules: &str) -> Vec<ConfigError> {
    try_engine(&format!("{BASE} rule = [{rules}]"))
        .err()
        .unwrap_or_default()
}

const NONE: [&str; 0] = [];

#[test]
fn a_rule_for_a_route_that_does_not_exist_is_reported() {
    assert_eq!(
        wrong(r#"{ route = ["NOWHERE"], outcome = "accept" }"#),
        ["rule[1].route[1]"]
    );
}

#[test]
fn a_rule_that_an_earlier_one_leaves_nothing_to_is_reported_with_that_one() {
    let covered = [
        r#"{ outcome = "accept" }, { class = ["raw-data"], outcome = "hold" }"#,
        r#"{ class = ["images", "raw-data"], outcome = "accept" }, { class = ["CTImageStorage", "raw-data"], outcome = "hold" }"#,
        r#"{ source = ["CT_*"], outcome = "accept" }, { source = ["CT_1?"], class = ["retired"], outcome = "hold" }"#,
        r#"{ source = ["PACS_A", "CT_*"], outcome = "accept" }, { class = ["images"], outcome = "hold" }"#,
        r#"{ route = ["JPEG", "ST_MARY"], outcome = "accept" }, { class = ["images"], outcome = "hold" }"#,
        r#"{ class = ["1.2.3"], outcome = "accept" }, { class = ["1.2.3"], route = ["JPEG"], outcome = "hold" }"#,
        r#"{ transfer_syntax = ["JPEGBaseline8Bit", "JPEGLSLossless"], outcome = "accept" }, { transfer_syntax = ["JPEGLSLossless"], outcome = "hold" }"#,
        r#"{ transfer_syntax = ["JPEGBaseline8Bit", "JPEGLSLossless"], outcome = "refuse-context" }, { transfer_syntax = ["JPEGLSLossless"], outcome = "refuse-context" }"#,
        r#"{ outcome = "refuse-context" }, { transfer_syntax = ["JPEGLSLossless"], outcome = "accept" }"#,
        r#"{ class = ["images"], outcome = "accept" }, { class = ["images"], modality = ["CT"], outcome = "hold" }"#,
        r#"{ class = ["images"], outcome = "accept" }, { class = ["images"], shadow = true, outcome = "hold" }"#,
    ];
    for rules in covered {
        assert_eq!(wrong(rules), ["rule[2]"], "{rules}");
    }
    let said = &problems(covered[0])[0].problem;
    assert_eq!(
        said,
        "can never match: rule[1] comes first and takes everything it is for; put it before that one, or remove it"
    );
}

#[test]
fn a_rule_to_which_something_is_left_is_not_reported() {
    for rules in [
        r#"{ class = ["raw-data"], outcome = "hold" }, { outcome = "accept" }"#,
        r#"{ class = ["images"], outcome = "accept" }, { class = ["retired"], outcome = "hold" }"#,
        r#"{ source = ["CT_1?"], outcome = "accept" }, { source = ["CT_*"], outcome = "hold" }"#,
        r#"{ source = ["PACS_A"], outcome = "accept" }, { class = ["images"], outcome = "hold" }"#,
        r#"{ route = ["JPEG"], outcome = "accept" }, { class = ["images"], outcome = "hold" }"#,
        r#"{ class = ["private"], outcome = "accept" }, { class = ["1.2.3"], outcome = "hold" }"#,
        r#"{ transfer_syntax = ["JPEGLSLossless"], outcome = "accept" }, { class = ["images"], outcome = "hold" }"#,
        r#"{ class = ["images"], outcome = "accept" }, { class = ["images"], transfer_syntax = ["JPIPReferenced"], outcome = "hold" }"#,
        r#"{ class = ["images"], modality = ["CT"], outcome = "accept" }, { class = ["images"], modality = ["MR"], outcome = "hold" }"#,
        r#"{ class = ["images"], shadow = true, outcome = "hold" }, { class = ["images"], outcome = "accept" }"#,
        // The same as a shipped rule says: clearer for whoever reads the file.
        r#"{ class = ["raw-data"], outcome = "refuse-context" }"#,
    ] {
        assert_eq!(wrong(rules), NONE, "{rules}");
    }
}

/// Implicit VR Little Endian is not refused for a class that is taken in any syntax: there the second one decides.
#[test]
fn a_rule_behind_one_that_refuses_some_syntaxes_is_not_reported() {
    for outcome in ["accept", "hold"] {
        let rules = format!(
            r#"{{ class = ["raw-data"], transfer_syntax = ["ImplicitVRLittleEndian", "JPEGBaseline8Bit"], outcome = "refuse-context" }},
            {{ class = ["raw-data"], transfer_syntax = ["ImplicitVRLittleEndian"], outcome = "{outcome}" }}"#
        );
        assert_eq!(wrong(&rules), NONE, "{outcome}");
        let engine = engine(&format!("rule = [{rules}]"));
        let contexts: [(&str, &[&str]); 1] = [(RAW, &[IMPLICIT_VR_LE])];
        assert_eq!(answers(&engine, "ST_MARY", &contexts), [IMPLICIT_VR_LE], "{outcome}");
    }
}

#[test]
fn two_rules_that_contradict_are_reported_with_the_one_that_wins() {
    let rules =
        r#"{ class = ["raw-data"], outcome = "accept" }, { class = ["RawDataStorage"], outcome = "refuse-context" }"#;
    let found = problems(rules);
    assert_eq!(found[0].path, "rule[2]");
    assert_eq!(
        found[0].problem,
        "contradicts rule[1]: both are for the same, and that one comes first and wins with \"accept\"; remove one of the two"
    );
}

#[test]
fn a_rule_for_a_caller_that_is_never_admitted_is_reported() {
    assert_eq!(
        wrong(r#"{ source = ["PACS_*", "MR_1", "CT"], outcome = "accept" }"#),
        ["rule[1].source[2]", "rule[1].source[3]"]
    );
    let rules = [RawRule {
        source: vec!["SEND".to_owned()],
        outcome: "hold".to_owned(),
        ..RawRule::default()
    }];
    let file: File = toml::from_str(BASE).unwrap();
    let local = [title("SEND")];
    assert!(Engine::new(&file.source, &file.route, &rules).is_err());
    assert!(Engine::with_local_titles(&local, &file.source, &file.route, &rules).is_ok());
}

#[test]
fn a_context_cannot_depend_on_an_instance() {
    for condition in [
        r#"modality = ["OT"]"#,
        r#"larger_than = "1MiB""#,
        r#"header = { PatientName = ["*TEST*"] }"#,
    ] {
        let found = problems(&format!("{{ {condition}, outcome = \"refuse-context\" }}"));
        assert_eq!(found[0].path, "rule[1].outcome");
        assert!(found[0].problem.ends_with("write \"refuse-instance\""), "{}", found[0]);
    }
}

#[test]
fn what_is_wrong_with_conditions_and_holds_is_reported_with_its_path() {
    let rules = r#"
        { outcome = "hold", header = { PatientsName = ["x"], StudyDescription = [] }, larger_than = "2MB", smaller_than = "1GiB", class = ["images"] },
        { outcome = "hold", larger_than = "1GiB", smaller_than = "1GiB", hold = "a month", quota = "0B", class = ["raw-data"] },
        { outcome = "accept", hold = "30d", quota = "1GiB", class = ["waveforms"], modality = ["ECG"], header = { Modality = ["ECG"] } }"#;
    let found = problems(rules);
    let paths: Vec<_> = found.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "rule[1].header.PatientsName",
            "rule[1].header.StudyDescription",
            "rule[1].larger_than",
            "rule[2].smaller_than",
            "rule[2].quota",
            "rule[2].hold",
            "rule[3].header.Modality",
            "rule[3].hold",
            "rule[3].quota",
        ]
    );
    assert!(
        found[0]
            .problem
            .starts_with("rules cannot ask for \"PatientsName\" (did you mean PatientName?); they can for ImageType,"),
        "{}",
        found[0]
    );
}

#[test]
fn what_is_wrong_makes_nothing_else_look_wrong() {
    // Without its class the first rule would be for everything.
    let rules = r#"{ class = ["raw-dta"], outcome = "accept" }, { class = ["images"], outcome = "hold" }"#;
    assert_eq!(wrong(rules), ["rule[1].class[1]"]);
    let errors = try_engine(
        r#"
        source = [{ ae_titles = ["A", "B\\C"], hosts = ["10.0.0.1"] }]
        route = [{ called_ae_title = "ST_MARY", to = "nowhere" }]
        rule = [{ source = ["OTHER"], route = ["ST_MARY"], outcome = "hold" }]
        "#,
    )
    .unwrap_err();
    let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["source[1].ae_titles[2]", "route[1].to"]);
}
