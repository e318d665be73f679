//! Tests the chain with tables: what each strategy finds, what is accepted, and what a person has to decide.

use super::*;
use crate::event::{CompanyId, Host, HostId, StaffId};

const SALON: CompanyId = CompanyId(15);
const OTHER: CompanyId = CompanyId(16);

fn staff(id: i64, name: &str, email: &str) -> Staff {
    let email = (!email.is_empty()).then(|| email.to_owned());
    Staff { id: StaffId::Integer(id), name: name.to_owned(), email }
}

fn mapping(staff: i64, source: &str) -> Mapping {
    Mapping {
        row: MappingRef::Row(88),
        made_for: SALON,
        company: SALON,
        host: HostId(7),
        staff: StaffId::Integer(staff),
        source: Stored::read(source),
        confidence: Confidence(75),
        is_active: true,
        staff_is_valid: true,
        switched_off_by_person: false,
    }
}

fn directory(mappings: impl IntoIterator<Item = Mapping>) -> Directory {
    let mut directory = Directory::default();
    directory.add_roster(
        SALON,
        vec![
            staff(1, "Anna  Blüm", " ANNA@salon.example "),
            staff(2, "Boris Kamm", "shared@salon.example"),
            staff(3, "boris kamm", "shared@salon.example"),
            staff(4, "Carla Diehl", ""),
        ],
    );
    directory.add_roster(OTHER, vec![staff(9, "Dora Elm", "dora@other.example")]);
    mappings.into_iter().for_each(|mapping| directory.add_mapping(mapping));
    directory
}

fn host(name: &str, email: &str, display_email: &str) -> Host {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (name, email, display_email) = (text(name), text(email), text(display_email));
    Host { id: Some(HostId(7)), name, email, display_email, ..Host::default() }
}

/// Resolves the host, and summarises the resolution.
fn resolve(host: &Host, directory: &Directory, auto_accept: u8) -> String {
    match Resolver::new(auto_accept).resolve(host, SALON, directory) {
        Resolution::Matched { strategy, candidate } => {
            format!("{strategy} {} {}", candidate.staff, candidate.confidence.0)
        }
        Resolution::NeedsReview { review, suggestions } => {
            let suggested: Vec<String> =
                suggestions.iter().map(|s| format!("{}:{}", s.strategy, s.staff)).collect();
            format!("{} {}", review, suggested.join(" "))
        }
        Resolution::Unmatched => "unmatched".to_owned(),
    }
}

#[test]
fn new_hosts_are_matched_by_address_and_suggested_by_name() {
    let composed = "Anna Blu\u{308}m";
    let table = [
        (host("", "anna@salon.example", ""), 80, "email 1 95"),
        (host("", "  Anna@Salon.Example", ""), 80, "email 1 95"),
        (host("", "a+x@salon.example", "anna@salon.example"), 80, "email 1 95"),
        (host("", "anna+tag@salon.example", ""), 80, "unmatched"),
        (host("", "änna@salon.example", ""), 80, "unmatched"),
        (host("", "dora@other.example", ""), 80, "unmatched"),
        (host("Dora Elm", "", ""), 80, "unmatched"),
        (host("", "shared@salon.example", ""), 80, "ambiguous email:2 email:3"),
        (host("", "anna@salon.example", "shared@salon.example"), 80, "ambiguous email:1 email:2 email:3"),
        (host(" anna BLÜM ", "", ""), 80, "below_threshold name:1"),
        (host(composed, "", ""), 75, "name 1 75"),
        (host("Boris Kamm", "", ""), 75, "ambiguous name:2 name:3"),
        (host("Anna Blüm", "anna@salon.example", ""), 96, "below_threshold email:1 name:1"),
        (host("Carla Diehl", "anna@salon.example", ""), 80, "email 1 95"),
        (host("", "", ""), 0, "unmatched"),
    ];
    let directory = directory([]);
    for (host, auto_accept, expected) in table {
        assert_eq!(resolve(&host, &directory, auto_accept), expected, "{host:?} at {auto_accept}");
    }
}

#[test]
fn a_valid_mapping_wins_regardless_of_its_confidence() {
    let anna = host("Anna Blüm", "anna@salon.example", "");
    type Change = fn(&mut Mapping);
    let table: [(&str, Change, &str); 7] = [
        ("manual", |_| {}, "manual 4 75"),
        ("admin", |_| {}, "manual 4 75"),
        ("auto_name", |_| {}, "existing 4 75"),
        ("imported_from_elsewhere", |_| {}, "existing 4 75"),
        ("manual", |m| m.staff_is_valid = false, "email 1 95"),
        ("auto_email", |m| m.is_active = false, "email 1 95"),
        ("auto_email", |m| m.company = OTHER, "email 1 95"),
    ];
    for (source, change, expected) in table {
        let mut mapping = mapping(4, source);
        change(&mut mapping);
        assert_eq!(resolve(&anna, &directory([mapping]), 100 - 5), expected, "{source}");
    }
}

/// A gateway that writes mappings too may leave several active ones for one host.
#[test]
fn valid_mappings_that_disagree_need_a_person() {
    let of =
        |row: i64, staff: i64, source: &str| Mapping { row: MappingRef::Row(row), ..mapping(staff, source) };
    let invalid = |mapping: Mapping| Mapping { staff_is_valid: false, ..mapping };
    let anna = host("Anna Blüm", "anna@salon.example", "");
    let table = [
        ([of(88, 4, "auto_name"), of(89, 2, "auto_email")], "ambiguous existing:4 existing:2", false),
        ([of(89, 2, "auto_email"), of(88, 4, "auto_name")], "ambiguous existing:2 existing:4", false),
        ([of(88, 4, "admin"), of(89, 2, "manual")], "ambiguous manual:4 manual:2", false),
        ([of(88, 4, "auto_email"), of(89, 2, "manual")], "manual 2 75", true),
        ([of(88, 4, "auto_email"), invalid(of(89, 2, "manual"))], "existing 4 75", true),
        ([invalid(of(88, 4, "auto_email")), of(89, 2, "auto_email")], "existing 2 75", true),
        ([invalid(of(88, 4, "auto_email")), invalid(of(89, 2, "auto_email"))], "email 1 95", false),
        ([of(88, 4, "auto_email"), of(89, 4, "auto_email")], "existing 4 75", true),
    ];
    for (mappings, expected, is_mapped) in table {
        let directory = directory(mappings.clone());
        assert_eq!(resolve(&anna, &directory, 80), expected, "{mappings:?}");
        assert_eq!(directory.is_mapped(HostKey::new(SALON, HostId(7))), is_mapped, "{mappings:?}");
    }
}

#[test]
fn a_mapping_that_a_person_switched_off_stops_the_chain() {
    let off = Mapping { is_active: false, switched_off_by_person: true, ..mapping(1, "auto_email") };
    let anna = host("Carla Diehl", "anna@salon.example", "");
    assert_eq!(resolve(&anna, &directory([off.clone()]), 80), "switched_off email:1");
    // Switched off for another member of staff, or created for another company: no effect on this one.
    assert_eq!(
        resolve(&anna, &directory([Mapping { staff: StaffId::Integer(4), ..off.clone() }]), 80),
        "email 1 95"
    );
    assert_eq!(resolve(&anna, &directory([Mapping { made_for: OTHER, ..off.clone() }]), 80), "email 1 95");
    // A host without an id has no mappings that could be switched off.
    assert_eq!(resolve(&Host { id: None, ..anna }, &directory([off]), 80), "email 1 95");
}

#[test]
fn an_explanation_agrees_with_the_decision() {
    let directory = directory([Mapping { staff_is_valid: false, ..mapping(4, "manual") }]);
    let (steps, resolution) =
        Resolver::new(80).explain(&host("Boris Kamm", "anna@salon.example", ""), SALON, &directory);
    let verdicts: Vec<_> = steps.iter().map(|step| (step.strategy, step.result.as_str())).collect();
    let refused = "refused: the member of staff is inactive, deleted, or in another company";
    let not_tried = "not tried: an earlier strategy has decided";
    let expected = [("manual", refused), ("existing", "nobody"), ("email", "accepted"), ("name", not_tried)];
    assert_eq!(verdicts, expected);
    assert!(matches!(resolution, Resolution::Matched { strategy: "email", .. }));
}

#[test]
fn names_are_compared_without_case_spaces_and_composition() {
    let table = [
        (" Anna\u{a0} \tBLÜM\n", "anna blüm"),
        ("Anna Blu\u{308}m", "anna blüm"),
        ("İpek", "i̇pek"),
        ("STRASSE", "strasse"),
        ("Straße", "straße"),
        ("  ", ""),
    ];
    for (name, expected) in table {
        assert_eq!(normal_name(name), expected, "{name:?}");
    }
}
