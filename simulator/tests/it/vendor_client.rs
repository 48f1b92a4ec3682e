//! Tests of the paths and fields that the vendor's own client, version 1.0.2, uses. Each test makes the requests of some of
//! that client's tools, and looks at the fields that the tools read.

use std::time::Duration;

use joltsms_simulator::{NewMessage, Rent, Simulator, Switches};
use serde_json::{Value, json};

use crate::client::{Request, Response, fill, get, start, with};

fn send(simulator: &Simulator, method: &str, target: &str, body: &str) -> Response {
    Request::new(method, target).bearer(simulator.key()).body(body).send(simulator)
}

fn rent(simulator: &Simulator, idempotency_key: &str) -> Response {
    Request::new("POST", "/v1/numbers/rent")
        .bearer(simulator.key())
        .header("X-Idempotency-Key", idempotency_key)
        .body(r#"{"areaCode": "212", "preferredAreaCode": true, "autoRenew": true}"#)
        .send(simulator)
}

fn owned(simulator: &Simulator) -> Vec<Value> {
    get(simulator, "/v1/numbers?scope=owned&limit=10").json()["data"].as_array().unwrap().clone()
}

#[test]
fn a_number_is_rented_provisioned_cancelled_and_expires() {
    let simulator = start();
    let handle = simulator.handle();
    let rented = rent(&simulator, "one").json();
    assert_eq!((&rented["success"], &rented["requiresAction"]), (&json!(true), &json!(false)));
    let subscription = rented["subscriptionId"].as_str().unwrap().to_owned();
    assert_eq!((subscription.len(), rented["status"].is_string()), (36, true));
    assert_eq!(
        rent(&simulator, "one").json()["subscriptionId"],
        json!(subscription),
        "a repeated request rents nothing"
    );

    let subscriptions = || get(&simulator, "/v1/billing/subscriptions").json()["subscriptions"].clone();
    let shown = subscriptions();
    assert_eq!(shown.as_array().unwrap().len(), 2, "one subscription is of the number of the start: {shown}");
    assert_eq!((&shown[1]["id"], &shown[1]["numberId"]), (&json!(subscription), &json!(null)));
    assert_eq!(owned(&simulator).len(), 1, "the number is being provisioned");
    handle.advance(Duration::from_secs(3));
    let number =
        owned(&simulator).into_iter().find(|number| number["subscriptionId"] == subscription.as_str()).unwrap();
    assert!(number["phoneNumber"].as_str().unwrap().starts_with("+1212"), "{number}");
    assert_eq!((&number["status"], &number["autoRenewEnabled"]), (&json!("ACTIVE"), &json!(true)));
    assert_eq!((&number["subscriptionStatus"], &number["expiresAt"]), (&json!("active"), &json!(null)));
    assert!(number["nextBillingDate"].is_string());

    let target = format!("/v1/billing/subscriptions/{subscription}/auto-renew");
    let cancelled = send(&simulator, "POST", &target, r#"{"enabled": false}"#);
    assert_eq!((cancelled.status, &cancelled.json()["success"]), (200, &json!(true)));
    assert!(cancelled.json()["message"].is_string());
    let shown = subscriptions()[1].clone();
    assert_eq!((&shown["numberId"], &shown["cancelAtPeriodEnd"]), (&number["id"], &json!(true)));
    for field in ["stripeSubscriptionId", "status", "billingHealth", "currentPeriodStart", "basePriceDisplay"] {
        assert!(shown[field].is_string(), "{field}: {shown}");
    }
    let now = get(&simulator, &format!("/v1/numbers/{}", number["id"].as_str().unwrap())).json()["data"].clone();
    assert_eq!((&now["autoRenewEnabled"], &now["expiresAt"]), (&json!(false), &shown["currentPeriodEnd"]));

    handle.advance(Duration::from_secs(31 * 86_400));
    assert_eq!(get(&simulator, "/v1/numbers?status=EXPIRED").ids(), [number["id"].as_str().unwrap()]);
    assert_eq!(subscriptions()[0]["status"], "active", "the other subscription was renewed");
    assert_eq!(send(&simulator, "POST", &target, r#"{"enabled": true}"#).status, 404);
    assert_eq!(send(&simulator, "POST", &target, "{}").status, 400);
}

#[test]
fn a_payment_may_need_a_confirmation_and_a_rent_may_be_refused() {
    let simulator = with(Switches { rent: Rent::PaymentRequired, ..Switches::default() });
    let answer = rent(&simulator, "one");
    assert_eq!(answer.status, 402);
    assert!(answer.json()["hostedInvoiceUrl"].as_str().unwrap().starts_with("https://"));
    simulator.handle().set_switches(|switches| switches.rent = Rent::Refused);
    let answer = rent(&simulator, "one");
    assert_eq!((answer.status, &answer.json()["success"]), (200, &json!(false)));
    assert!(answer.json()["error"].is_string());
    assert_eq!(send(&simulator, "POST", "/v1/numbers/rent", r#"{"areaCode": "21"}"#).status, 400);
    simulator.handle().set_switches(|switches| switches.provisioning = Duration::ZERO);
    simulator.handle().set_switches(|switches| switches.rent = Rent::Granted);
    for _ in 0..101 {
        assert_eq!(rent(&simulator, "").status, 201);
    }
    assert_eq!(send(&simulator, "POST", "/v1/numbers/rent", "").status, 201);
    assert_eq!(owned(&simulator).len(), 3);
}

#[test]
fn a_number_gets_a_label_tags_and_notes() {
    let simulator = start();
    let number = owned(&simulator).remove(0);
    let target = format!("/v1/numbers/{}", number["id"].as_str().unwrap());
    let changes = r#"{"serviceName": "PayPal", "tags": ["prod", "eu"], "notes": "Linked to acme"}"#;
    let updated = send(&simulator, "PUT", &target, changes).json();
    assert_eq!(updated["phoneNumber"], number["phoneNumber"], "the answer is the number itself");
    assert_eq!((&updated["serviceName"], &updated["tags"]), (&json!("PayPal"), &json!(["prod", "eu"])));
    let updated = send(&simulator, "PUT", &target, r#"{"tags": [], "notes": ""}"#).json();
    assert_eq!(
        (&updated["serviceName"], &updated["tags"], &updated["notes"]),
        (&json!("PayPal"), &json!([]), &json!(null))
    );
    assert_eq!(owned(&simulator), [updated]);
    let long = format!(r#"{{"notes": "{}"}}"#, "x".repeat(1001));
    for wrong in [long.as_str(), r#"{"tags": "prod"}"#, "", "[]x"] {
        assert_eq!(send(&simulator, "PUT", &target, wrong).status, 400, "{wrong}");
    }
    assert_eq!(send(&simulator, "PUT", "/v1/numbers/none", "{}").status, 404);
}

#[test]
fn messages_are_marked_as_read_one_and_all() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 3);
    handle.add(NewMessage::new().id("other").number("+16505550100"));
    let unread = || handle.rows().iter().filter(|row| !row.is_read).count();
    assert_eq!(unread(), 4);
    let read = send(&simulator, "PUT", "/v1/messages/m1/read", "").json();
    assert_eq!(read, json!({"success": true, "messageId": "m1", "readAt": "2025-06-15T12:00:00.000Z"}));
    assert_eq!(send(&simulator, "PUT", "/v1/messages/m1/read", "").status, 200);
    assert_eq!(send(&simulator, "PUT", "/v1/messages/none/read", "").status, 404);
    let number = handle.row("m0").unwrap().number_id;
    let numbers = get(&simulator, "/v1/numbers").json()["data"].clone();
    let counts = numbers.as_array().unwrap().iter().find(|row| row["id"] == number.as_str()).unwrap();
    assert_eq!((&counts["messageCount"], &counts["unreadCount"]), (&json!(3), &json!(2)));
    let all = send(&simulator, "PUT", &format!("/v1/messages/mark-all-read?numberId={number}"), "").json();
    assert_eq!((&all["success"], &all["count"], all["message"].is_string()), (&json!(true), &json!(2), true));
    assert_eq!(unread(), 1);
    assert_eq!(send(&simulator, "PUT", "/v1/messages/mark-all-read", "").json()["count"], 1);
    assert_eq!(send(&simulator, "PUT", "/v1/messages/mark-all-read?numberId=none", "").status, 404);
    assert!(get(&simulator, "/v1/messages").json()["data"].as_array().unwrap().iter().all(|row| row["isRead"] == true));
}

#[test]
fn waiting_for_a_message_finds_only_what_came_since() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 2);
    handle.advance(Duration::from_secs(60));
    let number = owned(&simulator)[0]["id"].as_str().unwrap().to_owned();
    let target = format!("/v1/messages?limit=1&numberId={number}&since=2025-06-15T12%3A01%3A00.000Z");
    assert!(get(&simulator, &target).ids().is_empty());
    handle.advance(Duration::from_secs(1));
    let id = handle.add(NewMessage::new().body("482913 is your code").code("482913"));
    let page = get(&simulator, &target);
    assert_eq!(page.ids(), [id]);
    let message = page.json()["data"][0].clone();
    assert_eq!((&message["parsedCode"], &message["number"]["id"]), (&json!("482913"), &json!(number)));
}

#[test]
fn every_request_of_the_client_needs_a_key_and_is_counted() {
    let simulator = start();
    let requests = [
        ("POST", "/v1/numbers/rent"),
        ("PUT", "/v1/numbers/num_1"),
        ("GET", "/v1/billing/subscriptions"),
        ("POST", "/v1/billing/subscriptions/sub/auto-renew"),
        ("PUT", "/v1/messages/m1/read"),
        ("PUT", "/v1/messages/mark-all-read"),
    ];
    for (index, (method, target)) in requests.into_iter().enumerate() {
        assert_eq!(Request::new(method, target).send(&simulator).status, 401, "{target}");
        let remaining = (119 - index).to_string();
        let answer = send(&simulator, method, target, "");
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(remaining.as_str()), "{target}");
    }
}
