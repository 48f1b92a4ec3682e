//! Answers requests about money: renting a number, the subscriptions, and their renewal.
//!
//! Invariant: paths and fields are those of the vendor's client. Statuses, texts and limits are made up, because
//! nothing of this is documented.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::state::State;
use crate::api::refusals::Refusal;
use crate::clock::Now;
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::switches::{Missing, Rent};

/// Answers `POST /v1/numbers/rent`.
pub(crate) fn rent(state: &mut State, now: Now, request: &Request) -> Result<Answer, Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wanted {
        #[serde(default)]
        area_code: Option<String>,
    }
    let wanted: Wanted = match request.body.is_empty() {
        true => Wanted::default(),
        false => serde_json::from_slice(&request.body).map_err(|_| Refusal::Body("a JSON object is required"))?,
    };
    let is_area = |area: &String| area.len() == 3 && area.bytes().all(|digit| digit.is_ascii_digit());
    if !wanted.area_code.as_ref().is_none_or(is_area) {
        return Err(Refusal::Body("areaCode is a text of three digits"));
    }
    let (provisioning, pretty) = (state.switches.provisioning, state.switches.pretty);
    Ok(match state.switches.rent {
        Rent::Granted => {
            let id = state.billing.rent(request.idempotency_key.as_deref(), wanted.area_code, provisioning, now);
            let answer = json!({
                "success": true,
                "subscriptionId": id,
                "status": "PROVISIONING",
                "requiresAction": false,
                "message": "The number is being provisioned",
            });
            Answer::json(201, &answer, pretty)
        }
        Rent::PaymentRequired => {
            let answer = json!({
                "success": false,
                "status": "REQUIRES_ACTION",
                "requiresAction": true,
                "error": "PAYMENT_REQUIRED",
                "message": "Payment requires authentication",
                "hostedInvoiceUrl": "https://invoice.example.com/i/simulated",
            });
            Answer::json(402, &answer, pretty)
        }
        Rent::Refused => {
            let answer = json!({
                "success": false,
                "status": "FAILED",
                "requiresAction": false,
                "error": "No number is available",
            });
            Answer::json(200, &answer, pretty)
        }
    })
}

/// Answers `GET /v1/billing/subscriptions`.
pub(crate) fn subscriptions(state: &State) -> Answer {
    let shown = |subscription: &crate::account::billing::Subscription| {
        let number = subscription.number.map(|number| state.numbers.get(number).id.as_str());
        let mut fields = subscription.json(number);
        if let (Some(fields), Missing::Absent) = (fields.as_object_mut(), state.switches.empty_fields) {
            fields.retain(|_, value| !value.is_null());
        }
        fields
    };
    let all: Vec<Value> = state.billing.all().iter().map(shown).collect();
    Answer::json(200, &json!({"subscriptions": all}), state.switches.pretty)
}

/// Answers `POST /v1/billing/subscriptions/ID/auto-renew`.
pub(crate) fn auto_renew(state: &mut State, id: &str, request: &Request) -> Result<Answer, Refusal> {
    #[derive(Deserialize)]
    struct Wanted {
        enabled: bool,
    }
    let Ok(Wanted { enabled }) = serde_json::from_slice(&request.body) else {
        return Err(Refusal::Body("enabled is true or false"));
    };
    if !state.billing.set_auto_renew(id, enabled) {
        return Err(Refusal::Subscription);
    }
    let message = if enabled { "Auto-renewal is on" } else { "Auto-renewal is off" };
    Ok(Answer::json(200, &json!({"success": true, "message": message}), state.switches.pretty))
}
