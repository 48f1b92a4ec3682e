//! Tests of filters: tables of examples, and property tests of the logic.

use proptest::prelude::*;

use super::*;

const MESSAGE: &str =
    r#"{"id":"m","from":"+18005559876","to":"+16505551234","body":"Your Code is 847291","parsedCode":"847291"}"#;
const NUMBER: &str = r#"{"id":"n","serviceName":"PayPal","tags":["prod","eu west"],"phoneNumber":"+16505551234"}"#;

fn globs(patterns: &[&str]) -> Option<Globs> {
    Some(Globs::new(patterns.iter().copied()).unwrap())
}

fn regexes(patterns: &[&str]) -> Option<Regexes> {
    Some(Regexes::new(patterns.iter().copied()).unwrap())
}

fn decide(clause: Clause, raw: &str, details: Details<'_>) -> FilterVerdict {
    Filter::any_of(vec![clause]).decide(&Facts::read(raw, details))
}

#[test]
fn a_number_without_its_plus_is_noticed() {
    let lacking = ["16505551234", "1650555123?", "1*", "+16505551234", "*5551234", "12345"].map(Filter::lacks_plus);
    assert_eq!(lacking, [true, true, true, false, false, false]);
}

#[test]
fn each_key_alone() {
    let clause = Clause::default;
    let takes = |clause: Clause| decide(clause, MESSAGE, Details::Known(NUMBER)) == FilterVerdict::Wanted;
    assert!(takes(clause()), "no condition");
    for (pattern, expected) in [
        ("+16505551234", true),
        ("+1650*", true),
        ("*1234", true),
        ("+1650555123?", true),
        ("+1650555123[45]", true),
        ("{+1650*,+1700*}", true),
        ("+1650", false),
        ("1650*", false),
        ("", false),
    ] {
        assert_eq!(takes(Clause { to: globs(&[pattern]), ..clause() }), expected, "{pattern}");
    }
    assert!(takes(Clause { to: globs(&["+1", "+16*"]), ..clause() }), "values are alternatives");
    assert!(takes(Clause { from: globs(&["+1800*"]), ..clause() }));
    assert!(!takes(Clause { from: globs(&["+1900*"]), ..clause() }));
    assert!(takes(Clause { body: regexes(&["(?i)code"]), ..clause() }));
    assert!(!takes(Clause { body: regexes(&["code"]), ..clause() }), "case matters in bodies");
    assert!(takes(Clause { body: regexes(&["x", r"\d{6}$"]), ..clause() }));
    assert!(takes(Clause { has_code: Some(true), ..clause() }));
    assert!(!takes(Clause { has_code: Some(false), ..clause() }));
    assert!(takes(Clause { service: globs(&["paypal"]), ..clause() }), "without regard to case");
    assert!(!takes(Clause { service: globs(&["pay"]), ..clause() }));
    assert!(takes(Clause { tags: globs(&["test", "PROD"]), ..clause() }));
    assert!(takes(Clause { tags: globs(&["eu*"]), ..clause() }));
    assert!(!takes(Clause { tags: globs(&["test"]), ..clause() }));
    let exclude = |inner| Clause { exclude: Some(Box::new(inner)), ..clause() };
    assert!(!takes(exclude(Clause { from: globs(&["+1800*"]), ..clause() })));
    assert!(takes(exclude(Clause { from: globs(&["+1800*"]), has_code: Some(false), ..clause() })), "both must hold");
}

#[test]
fn all_keys_of_a_clause_must_hold_and_the_verdict_names_the_first_that_fails() {
    let clause =
        Clause { to: globs(&["+1650*"]), from: globs(&["nobody"]), has_code: Some(false), ..Clause::default() };
    assert_eq!(decide(clause.clone(), MESSAGE, Details::Unknown), FilterVerdict::Unwanted("from"));
    let other = Clause { has_code: Some(true), ..Clause::default() };
    let filter = Filter::any_of(vec![clause, other]);
    assert_eq!(
        filter.decide(&Facts::read(MESSAGE, Details::Unknown)),
        FilterVerdict::Wanted,
        "clauses are alternatives"
    );
}

#[test]
fn only_a_decision_that_depends_on_the_number_waits_for_its_details() {
    let service = || Clause { service: globs(&["PayPal"]), ..Clause::default() };
    assert_eq!(decide(service(), MESSAGE, Details::Unknown), FilterVerdict::Unknown("service"));
    assert_eq!(decide(service(), MESSAGE, Details::Absent), FilterVerdict::Unwanted("service"));
    assert_eq!(decide(service(), MESSAGE, Details::Known("{}")), FilterVerdict::Unwanted("service"));
    assert_eq!(decide(service(), MESSAGE, Details::Known(NUMBER)), FilterVerdict::Wanted);
    let both = Clause { has_code: Some(false), ..service() };
    assert_eq!(decide(both, MESSAGE, Details::Unknown), FilterVerdict::Unwanted("has_code"));
    let not_test =
        Clause { exclude: Some(Box::new(Clause { tags: globs(&["test"]), ..Clause::default() })), ..Clause::default() };
    assert!(Filter::any_of(vec![not_test.clone()]).needs_details());
    assert_eq!(decide(not_test.clone(), MESSAGE, Details::Unknown), FilterVerdict::Unknown("exclude"));
    assert_eq!(decide(not_test.clone(), MESSAGE, Details::Absent), FilterVerdict::Wanted);
    let facts = Facts::read(MESSAGE, Details::Unknown);
    let code = Clause { has_code: Some(true), ..Clause::default() };
    assert_eq!(Filter::any_of(vec![service(), code]).decide(&facts), FilterVerdict::Wanted, "another clause decides");
    let no_code = Clause { has_code: Some(false), ..Clause::default() };
    assert_eq!(Filter::any_of(vec![no_code, service()]).decide(&facts), FilterVerdict::Unknown("service"));
}

#[test]
fn fields_that_are_missing_or_odd_match_nothing() {
    let any = || Clause { from: globs(&["*"]), ..Clause::default() };
    for raw in ["{}", r#"{"from":null}"#, r#"{"from":7}"#, r#"{"from":["a"]}"#, "[]", "null", "not json"] {
        assert_eq!(decide(any(), raw, Details::Absent), FilterVerdict::Unwanted("from"), "{raw}");
        let nobody = Clause { exclude: Some(Box::new(any())), ..Clause::default() };
        assert_eq!(decide(nobody, raw, Details::Absent), FilterVerdict::Wanted, "{raw}");
    }
    assert_eq!(decide(any(), r#"{"from":""}"#, Details::Absent), FilterVerdict::Wanted, "an empty sender is a sender");
    for (code, has) in [("null", false), ("\"\"", false), ("\"1\"", true), ("123", true)] {
        let raw = format!(r#"{{"parsedCode":{code}}}"#);
        let clause = Clause { has_code: Some(has), ..Clause::default() };
        assert_eq!(decide(clause, &raw, Details::Absent), FilterVerdict::Wanted, "{raw}");
    }
    let pattern = CodePattern::new(r"code (\d+)").ok();
    for (raw, has) in [
        (r#"{"body":"code 12"}"#, true),
        (r#"{"body":"code 12 \ud83d"}"#, true),
        (r#"{"body":"code"}"#, false),
        (r#"{"parsedCode":"1"}"#, true),
    ] {
        let clause = Clause { has_code: Some(true), ..Clause::default() };
        let exclude = Clause { exclude: Some(Box::new(clause.clone())), ..Clause::default() };
        for (clause, expected) in [(clause, has), (exclude, !has)] {
            let filter = Filter::any_of(vec![clause]).with_code_pattern(pattern.clone());
            let decided = filter.decide(&Facts::read(raw, Details::Absent));
            assert_eq!(decided == FilterVerdict::Wanted, expected, "{raw}");
        }
    }
    let to = Clause { to: globs(&["+1650*"]), ..Clause::default() };
    let raw = r#"{"number":{"phoneNumber":"+16505551234"}}"#;
    assert_eq!(decide(to, raw, Details::Absent), FilterVerdict::Wanted, "`number` names the receiving number");
    let escaped = r#"{"from":"\u0041\ud83d\ude00"}"#;
    let clause = Clause { from: globs(&["a😀"]), ..Clause::default() };
    assert_eq!(decide(clause, escaped, Details::Absent), FilterVerdict::Wanted);
    let tags = Clause { tags: globs(&["prod"]), ..Clause::default() };
    let odd = r#"{"tags":[1,null,"prod"],"serviceName":{}}"#;
    assert_eq!(decide(tags, MESSAGE, Details::Known(odd)), FilterVerdict::Wanted);
}

#[test]
fn an_invalid_pattern_is_refused_without_a_quote_from_it() {
    assert_eq!(Globs::check("[a").unwrap_err().to_string(), "unclosed character class; missing ']'");
    assert!(Globs::check("{a").is_err());
    let error = Regexes::check("SECRET(").unwrap_err().to_string();
    assert_eq!(error, "unclosed group");
    assert!(Regexes::check(r"(a)\1").unwrap_err().to_string().contains("backreferences are not supported"));
    assert!(Regexes::check("(?:a{1000}){1000}").unwrap_err().to_string().contains("bytes when compiled"));
}

fn a_clause() -> impl Strategy<Value = Clause> {
    let conditions = (any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>(), any::<Option<bool>>());
    conditions.prop_map(|(from, has_code, service, tags)| {
        let globs = |matches: bool, text: &str| globs(&[if matches { text } else { "no" }]);
        Clause {
            from: from.and_then(|matches| globs(matches, "+1800*")),
            has_code,
            service: service.and_then(|matches| globs(matches, "PayPal")),
            tags: tags.and_then(|matches| globs(matches, "prod")),
            ..Clause::default()
        }
    })
}

proptest! {
    /// If a filter decides without the details of the number, it decides the same with any details.
    #[test]
    fn a_decision_without_the_details_is_the_same_with_them(
        clauses in prop::collection::vec((a_clause(), prop::option::of(a_clause())), 1..4),
        details in prop::sample::select(vec![Details::Absent, Details::Known("{}"), Details::Known(NUMBER)]),
    ) {
        let with_exclude = |(clause, exclude): (Clause, Option<Clause>)| Clause { exclude: exclude.map(Box::new), ..clause };
        let filter = Filter::any_of(clauses.into_iter().map(with_exclude).collect());
        let before = filter.decide(&Facts::read(MESSAGE, Details::Unknown));
        let after = filter.decide(&Facts::read(MESSAGE, details));
        prop_assert!(!matches!(after, FilterVerdict::Unknown(_)));
        match before {
            FilterVerdict::Wanted => prop_assert_eq!(after, FilterVerdict::Wanted),
            FilterVerdict::Unwanted(_) => prop_assert!(matches!(after, FilterVerdict::Unwanted(_))),
            FilterVerdict::Unknown(_) => prop_assert!(filter.needs_details()),
        }
    }
}
