//! The key `fallback` of a sink, which names another sink.

use super::Machine;

fn sinks(fallbacks: &[(&str, &str)]) -> String {
    let sink = |(name, fallback): &(&str, &str)| {
        let key = if fallback.is_empty() { String::new() } else { format!("fallback = \"{fallback}\"\n") };
        format!("[sinks.{name}]\ntype = \"http\"\nurl = \"https://{name}.example\"\n{key}")
    };
    fallbacks.iter().map(sink).collect()
}

#[test]
fn chains_and_shared_fallbacks_are_fine() {
    let config = Machine::with_file(&sinks(&[("a", "b"), ("b", "c"), ("c", ""), ("d", "c")])).load();
    let named = config.sinks.iter().map(|sink| sink.delivery.fallback.as_ref().map_or("-", AsRef::as_ref));
    assert_eq!(named.collect::<Vec<_>>(), ["b", "c", "-", "c"]);
    let by_variable = Machine::with_file(&sinks(&[("a", ""), ("b", "")])).set("JOLTSMS_RELAY_SINKS__A__FALLBACK", "b");
    assert_eq!(by_variable.load().sinks[0].delivery.fallback, Some("b".parse().unwrap()));
}

#[test]
fn a_fallback_that_leads_nowhere_is_refused() {
    for (fallbacks, wrong) in [
        (&[("a", "a")] as &[_], "config.toml:4: `sinks.a.fallback` names the sink itself"),
        (&[("ops", ""), ("b", "osp")], "`sinks.b.fallback` = \"osp\": there is no such sink"),
        (&[("ops", ""), ("b", "osp")], "did you mean `ops`?"),
        (&[("a", "X y"), ("b", "")], "`sinks.a.fallback` = \"X y\" is not the name of a sink"),
        (&[("a", "b"), ("b", "a")], "`sinks.a.fallback`: dead letters would go round: a -> b -> a"),
        (&[("d", "a"), ("a", "c"), ("b", "a"), ("c", "b")], "dead letters would go round: a -> c -> b -> a"),
    ] {
        let told = Machine::with_file(&sinks(fallbacks)).refused();
        assert!(told.contains(wrong), "{told}");
        assert!(told.matches("go round").count() <= 1, "a circle is told once: {told}");
    }
}

#[test]
fn a_fallback_that_is_switched_off_is_a_warning() {
    let machine = Machine::with_file(&(sinks(&[("a", "b"), ("b", "")]) + "enabled = false\n"));
    let config = machine.load();
    let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    let told = "config.toml:4: `sinks.a.fallback` = \"b\": that sink is switched off (enabled = false), so it keeps the \
                dead letters that it gets, and sends none; switch it on, or name another sink";
    assert!(warning.to_string().ends_with(told), "{warning}");
    assert!(Machine::with_file(&sinks(&[("a", "b"), ("b", "")])).load().warnings.is_empty());
}

#[test]
fn a_fallback_is_checked_beside_other_errors_of_its_sink() {
    let file = "[sinks.ops]\ntype = \"htp\"\n[sinks.b]\ntype = \"http\"\nurl = \"no url\"\nfallback = \"osp\"\n";
    let told = Machine::with_file(file).refused();
    assert!(told.contains("config.toml:6: `sinks.b.fallback` = \"osp\": there is no such sink"), "{told}");
    assert!(told.contains("config.toml:2: ") && told.contains("config.toml:5: "), "{told}");
    let broken = Machine::with_file(&format!("{}[sinks.osp\ntype = 1\n", file.replace("no url", "https://b.example")));
    assert!(!broken.refused().contains("no such sink"), "the sink may stand in the part that cannot be read");
}
