//! The parameters in the address of the page. Pure.

use super::super::parameters::Parameters;

/// The parameters that stay in the address of the page.
pub(in crate::admin) const NAMES: [&str; 6] = ["to", "from", "since", "limit", "dead", "show"];

/// The parameters of the list of messages.
const FILTERS: [&str; 4] = ["to", "from", "since", "limit"];

/// The parameters that select messages. `limit` is none of them.
const SELECTORS: [&str; 3] = ["to", "from", "since"];

/// The parameter with the id of a notice. It is in the address only once, right after an action.
pub(in crate::admin) const NOTICE: &str = "notice";

/// The value of `show` that shows the codes and texts of all listed messages.
const ALL: &str = "all";

/// The parameters of the page.
#[derive(Clone, Debug)]
pub(in crate::admin) struct PageQuery(Parameters);

impl PageQuery {
    pub(in crate::admin) fn of(parameters: Parameters) -> Self {
        Self(parameters)
    }

    /// Returns the parameters of the list of messages.
    pub(in crate::admin) fn filters(&self) -> Parameters {
        Parameters::of_form(self.0.query(&FILTERS).as_bytes())
    }

    /// Returns the sink whose dead letters are listed.
    pub(in crate::admin) fn dead_sink(&self) -> Option<&str> {
        self.0.get("dead")
    }

    /// Returns the id of the notice that is shown.
    pub(in crate::admin) fn notice(&self) -> Option<&str> {
        self.0.get(NOTICE)
    }

    /// Returns the value of a parameter as it was written.
    pub(super) fn written(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_default()
    }

    /// Whether the code and the text of this message are shown.
    pub(super) fn shows(&self, id: &str) -> bool {
        self.0.all("show").iter().any(|shown| shown == id || shown == ALL)
    }

    /// Whether any parameter of the list of messages is set.
    pub(super) fn has_filter(&self) -> bool {
        !self.0.query(&FILTERS).is_empty()
    }

    /// Whether any parameter that selects messages is set.
    pub(super) fn selects_messages(&self) -> bool {
        !self.0.query(&SELECTORS).is_empty()
    }

    /// Returns the parameters that select messages.
    pub(super) fn selectors(&self) -> Vec<(String, String)> {
        let pairs =
            SELECTORS.iter().flat_map(|name| self.0.all(name).into_iter().map(|value| ((*name).to_owned(), value)));
        pairs.collect()
    }

    /// Returns the query of this page.
    pub(super) fn own(&self) -> String {
        self.0.query(&NAMES)
    }

    /// Returns the query of the page that shows the code and the text of the message `id`, or, if `id` is `None`, of all
    /// listed messages.
    pub(super) fn showing(&self, id: Option<&str>) -> String {
        let mut shown = form_urlencoded::Serializer::new(String::new());
        shown.append_pair("show", id.unwrap_or(ALL));
        joined(&self.0.query(&["to", "from", "since", "limit", "dead"]), &shown.finish())
    }

    /// Returns the query of the page that masks all codes and texts.
    pub(super) fn masked(&self) -> String {
        self.0.query(&["to", "from", "since", "limit", "dead"])
    }

    /// Returns the query of the page that lists the dead letters of the sink, or, if `sink` is `None`, of all sinks.
    pub(super) fn with_dead_of(&self, sink: Option<&str>) -> String {
        let rest = self.0.query(&["to", "from", "since", "limit", "show"]);
        let mut chosen = form_urlencoded::Serializer::new(String::new());
        chosen.extend_pairs(sink.map(|sink| ("dead", sink)));
        joined(&rest, &chosen.finish())
    }
}

fn joined(one: &str, other: &str) -> String {
    [one, other].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_the_filters() {
        let query = PageQuery::of(Parameters::of_form(b"to=%2B1*&show=a&dead=crm&notice=7&x=y"));
        assert_eq!(query.own(), "to=%2B1*&show=a&dead=crm");
        assert_eq!(query.showing(Some("b&c")), "to=%2B1*&dead=crm&show=b%26c");
        assert_eq!(query.showing(None), "to=%2B1*&dead=crm&show=all");
        assert_eq!(query.masked(), "to=%2B1*&dead=crm");
        assert_eq!(query.with_dead_of(None), "to=%2B1*&show=a");
        assert_eq!(query.with_dead_of(Some("mail")), "to=%2B1*&show=a&dead=mail");
        assert_eq!(query.selectors(), [("to".to_owned(), "+1*".to_owned())]);
        assert!(query.selects_messages() && !PageQuery::of(Parameters::of_form(b"limit=3")).selects_messages());
        assert!(query.shows("a") && !query.shows("b") && query.has_filter());
        assert!(PageQuery::of(Parameters::of_form(b"show=all")).shows("b"));
    }
}
