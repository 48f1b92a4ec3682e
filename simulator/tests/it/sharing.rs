//! Tests of numbers that are shared with the account, or withdrawn from it, while a program reads the list.

use std::time::Duration;

use joltsms_simulator::{NewMessage, Simulator};
use serde_json::{Value, json};

use crate::client::{Request, fill, get, start, walk};

const DAY: Duration = Duration::from_secs(86_400);

fn control(simulator: &Simulator, path: &str, body: &str) -> (u16, Value) {
    let target = format!("/_simulator/{path}");
    let response = Request::new("POST", &target).body(body).send(simulator);
    (response.status, response.json())
}

#[test]
fn a_shared_number_brings_its_history_into_the_list() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 3);
    let (status, shared) = control(&simulator, "numbers/+16505550123/share", r#"{"count": 25, "length": "2d"}"#);
    assert_eq!((status, &shared["shared"], &shared["withdrawn"]), (200, &json!(true), &json!(false)));
    assert_eq!(get(&simulator, "/v1/numbers?scope=shared").ids(), [shared["id"].as_str().unwrap()]);
    let ids = walk(&simulator, "/v1/messages?limit=10");
    assert_eq!(ids.len(), 28);
    let history: Vec<_> = handle.rows().into_iter().filter(|row| row.to == "+16505550123").collect();
    assert_eq!(history.len(), 25);
    let now = handle.now();
    assert!(
        history.iter().all(|row| row.ingested_at < now && row.received_at > now - 2 * DAY - Duration::from_secs(2))
    );
}

#[test]
fn a_withdrawn_number_takes_its_messages_away_and_brings_them_back() {
    let simulator = start();
    let handle = simulator.handle();
    fill(&handle, 3);
    let number = handle.share_number("+16505550123", 4, DAY);
    let gone = handle.rows().into_iter().find(|row| row.number_id == number.id).unwrap().id;
    assert!(handle.vanish(&gone));
    assert_eq!(get(&simulator, "/v1/messages").json()["meta"]["total"], 6);

    assert_eq!(control(&simulator, "numbers/+16505550123/withdraw", "").0, 200);
    assert_eq!(control(&simulator, "numbers/+16505550123/withdraw", "").0, 404);
    assert_eq!(get(&simulator, "/v1/messages").ids(), ["m2", "m1", "m0"]);
    assert_eq!(get(&simulator, "/v1/numbers").ids().len(), 1);
    for target in [format!("/v1/numbers/{}", number.id), format!("/v1/messages?numberId={}", number.id)] {
        assert_eq!(get(&simulator, &target).status, 404, "{target}");
    }
    let unseen = handle.add(NewMessage::new().number(&number.id));
    assert!(handle.row(&unseen).unwrap().vanished, "a message of a withdrawn number is not in the list");
    assert!(!handle.vanish(&unseen) && handle.restore(&gone) && handle.vanish("m0") && handle.restore("m0"));
    assert_eq!(handle.message_count(), 3);
    let first = handle.numbers().remove(0).id;
    assert_eq!(handle.row(&handle.add(NewMessage::new())).unwrap().number_id, first);

    assert_eq!(control(&simulator, &format!("numbers/{}/share", number.id), "").0, 200);
    assert_eq!(get(&simulator, "/v1/messages").json()["meta"]["total"], 9);
    assert_eq!(get(&simulator, &format!("/v1/messages?numberId={}", number.id)).ids().len(), 5);
}

#[test]
fn an_account_without_any_number_in_its_list_goes_on() {
    let simulator = start();
    let handle = simulator.handle();
    for number in handle.numbers() {
        assert!(handle.withdraw_number(&number.id));
    }
    handle.set_traffic(joltsms_simulator::Traffic { per_minute: 600.0, vanish: 1.0, ..Default::default() });
    handle.advance(Duration::from_secs(60));
    assert_eq!(get(&simulator, "/v1/messages").ids().len(), 0);
    handle.clear_messages();
    assert!(handle.is_withdrawn(&handle.numbers()[0].id), "the number is still withdrawn");
}
