//! The parameters of a request, from its query and from its body. The body is a form or a JSON object. Pure.

use serde_json::Value;

/// Names with their values. A name may occur several times. An empty value counts as missing, because a form also sends
/// its empty fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

/// Why parameters are refused, as a sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ParameterRefusal(pub(super) String);

impl Parameters {
    /// Reads a query or a form.
    pub(super) fn of_form(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).into_owned();
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Reads a JSON object of texts, numbers, booleans, and arrays of these.
    pub(super) fn of_json(text: &[u8]) -> Result<Self, ParameterRefusal> {
        let wrong = || ParameterRefusal("the body is not a JSON object of texts and arrays of texts".to_owned());
        let Ok(Value::Object(members)) = serde_json::from_slice(text) else { return Err(wrong()) };
        let mut pairs = Vec::new();
        for (name, value) in members {
            let values = match value {
                Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                let text = match value {
                    Value::Null => continue,
                    Value::String(text) => text,
                    Value::Bool(_) | Value::Number(_) => value.to_string(),
                    Value::Array(_) | Value::Object(_) => return Err(wrong()),
                };
                pairs.push((name.clone(), text));
            }
        }
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }

    /// Adds the parameters of another part of the request.
    pub(super) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Returns the last value with this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Returns all values with this name.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect()
    }

    /// Returns whether the value with this name is true. A missing value counts as false.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ParameterRefusal> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1" | "on") => Ok(true),
            Some(_) => Err(ParameterRefusal(format!("{name} is either true or false"))),
        }
    }

    /// Refuses parameters with other names than these. If a mistyped selector were ignored, too much would be selected.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), ParameterRefusal> {
        let Some((name, _)) = self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) else { return Ok(()) };
        let known = match names {
            [] => "it takes none".to_owned(),
            _ => format!("the parameters are {}", names.join(", ")),
        };
        Err(ParameterRefusal(format!("there is no parameter {name:?} here; {known}")))
    }

    /// Returns the parameters without the one with this name.
    pub(super) fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| known != name).cloned().collect())
    }

    /// Writes the parameters with these names as a query, without the question mark.
    pub(super) fn query(&self, names: &[&str]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.0.iter().filter(|(name, _)| names.contains(&name.as_str())));
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_json_objects_give_the_same_parameters() {
        let form = Parameters::of_form(b"sink=crm&id=a%26b&id=c&failed=true&to=");
        let json = Parameters::of_json(br#"{"failed":true,"id":["a&b","c"],"sink":"crm","to":null}"#).unwrap();
        for read in [&form, &json] {
            assert_eq!((read.get("sink"), read.get("to"), read.get("x")), (Some("crm"), None, None));
            assert_eq!(read.all("id"), ["a&b", "c"]);
            assert_eq!((read.flag("failed"), read.flag("all")), (Ok(true), Ok(false)));
        }
        assert_eq!(form.query(&["id"]), "id=a%26b&id=c");
        assert_eq!(form.clone().and(Parameters::of_form(b"sink=b")).get("sink"), Some("b"));
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in ["", "[]", "x", r#"{"a":{}}"#, r#"{"a":[[]]}"#] {
            assert!(Parameters::of_json(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let read = Parameters::of_form(b"snik=crm&all=maybe");
        assert!(read.only(&["sink", "all"]).unwrap_err().to_string().contains("\"snik\""));
        let refusal = read.without("sink").only(&[]).unwrap_err().to_string();
        assert!(refusal.ends_with("here; it takes none"), "{refusal}");
        assert!(read.flag("all").is_err());
    }
}
