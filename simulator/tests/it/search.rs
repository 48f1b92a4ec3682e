//! Tests of every order, filter and place in a list, compared with a plain search through the same messages.

use joltsms_simulator::{NewMessage, Row, Since, SortBy, Switches, Ties};

use crate::client::{at, walk, with};

fn expected(rows: &[Row], switches: &Switches, wanted: impl Fn(&Row) -> bool) -> Vec<String> {
    let sort = |row: &Row| match switches.sort_by {
        SortBy::ReceivedAt => row.received_at,
        SortBy::IngestedAt => row.ingested_at,
    };
    let mut found: Vec<(usize, &Row)> = rows.iter().enumerate().filter(|(_, row)| wanted(row)).collect();
    found.sort_by(|(left_arrival, left), (right_arrival, right)| {
        sort(right).cmp(&sort(left)).then_with(|| match switches.ties {
            Ties::IdDescending => right.id.cmp(&left.id),
            Ties::IdAscending => left.id.cmp(&right.id),
            Ties::NewestFirst => right_arrival.cmp(left_arrival),
            Ties::OldestFirst => left_arrival.cmp(right_arrival),
        })
    });
    found.into_iter().map(|(_, row)| row.id.clone()).collect()
}

#[test]
fn every_walk_agrees_with_a_plain_reading() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut walks = 0;
    for sort_by in [SortBy::ReceivedAt, SortBy::IngestedAt] {
        for ties in [Ties::IdDescending, Ties::IdAscending, Ties::NewestFirst, Ties::OldestFirst] {
            for since in [Since::ReceivedAt, Since::IngestedAt] {
                let since_inclusive = random.bool();
                let switches =
                    Switches { sort_by, ties, since, since_inclusive, limit: u32::MAX, ..Switches::default() };
                let simulator = with(switches.clone());
                let handle = simulator.handle();
                let numbers = [0, 1].map(|_| handle.add_number(Default::default()).id);
                for _ in 0..120 {
                    let received = at(random.i64(0..40));
                    let ingested = if random.bool() { received } else { at(random.i64(0..40)) };
                    let message = NewMessage::new().received_at(received).ingested_at(ingested);
                    let id =
                        handle.add(message.number(&numbers[random.usize(..2)]).from(["a", "b"][random.usize(..2)]));
                    if random.u32(..12) == 0 {
                        handle.vanish(&id);
                    }
                }
                let rows: Vec<Row> = handle.all_rows().into_iter().filter(|row| !row.vanished).collect();
                for filter in 0..8 {
                    let time = at(random.i64(-1..41));
                    let mut target = format!("/v1/messages?limit={}", random.u32(1..=10));
                    target += &if filter & 1 > 0 { format!("&numberId={}", numbers[0]) } else { String::new() };
                    target += if filter & 2 > 0 { "&from=b" } else { "" };
                    target += &if filter & 4 > 0 { format!("&since={time}") } else { String::new() };
                    let wanted = |row: &Row| {
                        let compared = if since == Since::ReceivedAt { row.received_at } else { row.ingested_at };
                        (filter & 1 == 0 || row.number_id == numbers[0])
                            && (filter & 2 == 0 || row.from == "b")
                            && (filter & 4 == 0 || compared > time || (since_inclusive && compared == time))
                    };
                    assert_eq!(walk(&simulator, &target), expected(&rows, &switches, wanted), "{target} {switches:?}");
                    walks += 1;
                }
            }
        }
    }
    assert_eq!(walks, 128);
}
