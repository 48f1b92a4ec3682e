//! The list of stored messages, for the page and for the API.

use serde::Serialize;
use serde_json::value::RawValue;

use super::parameters::{ParameterRefusal, Parameters};
use crate::codes::CodeFinder;
use crate::domain::UnixMs;
use crate::domain::filter::{Details, Facts, Filter, FilterVerdict};
use crate::formats::MessageTexts;
use crate::operator::{OperatorRefusal, filter_of};
use crate::settings;
use crate::store::{Arrival, Error, Spool, TracedDelivery};

/// The parameters of the list.
pub(super) const NAMES: [&str; 6] = ["id", "to", "from", "since", "after", "limit"];

/// How many messages are listed if the request names no limit.
const USUAL: usize = 25;

/// The most messages that are listed.
const MOST: usize = 500;

/// The most messages that are looked at for one list. Without this limit, a filter that matches nothing would read the
/// whole state.
const MOST_LOOKED_AT: usize = 20_000;

/// How many messages are read in one portion.
const PORTION: usize = 500;

/// Which messages are listed. All conditions must hold.
#[derive(Clone, Debug)]
pub(super) struct MessageQuery {
    id: Option<String>,
    filter: Option<Filter>,
    since: UnixMs,
    after: Option<String>,
    limit: usize,
}

/// Messages, the oldest first.
#[derive(Debug, Default, Serialize)]
pub(super) struct MessageList {
    pub(super) messages: Vec<ListedMessage>,
    /// Whether there may be more messages: the list was full, or [`MOST_LOOKED_AT`] messages were looked at.
    pub(super) more: bool,
}

/// A message, with its delivery to each sink.
#[derive(Debug, Serialize)]
pub(super) struct ListedMessage {
    pub(super) id: String,
    pub(super) received_at: UnixMs,
    /// The code that the API or the operator's pattern (`[codes]`) has found.
    pub(super) code: Option<String>,
    /// The message's JSON as the API sent it; `None` if the text is not kept any more.
    pub(super) message: Option<Box<RawValue>>,
    pub(super) sinks: Vec<TracedDelivery>,
    #[serde(skip)]
    pub(super) texts: MessageTexts,
    /// The release number of the message: messages are numbered in the order in which they are released.
    #[serde(skip)]
    pub(super) place: i64,
}

impl MessageQuery {
    /// Reads the parameters. `now`: the present time by the clock that dates the messages.
    pub(super) fn read(parameters: &Parameters, now: UnixMs) -> Result<Self, ParameterRefusal> {
        let filter = filter_of(&parameters.all("to"), &parameters.all("from"))
            .map_err(|refusal| ParameterRefusal(refusal.to_string()))?;
        let limit = match parameters.get("limit") {
            None => USUAL,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MOST).contains(limit))
                .ok_or_else(|| ParameterRefusal(format!("limit is a number from 1 to {MOST}")))?,
        };
        Ok(Self {
            id: parameters.get("id").map(str::to_owned),
            filter,
            since: instant(parameters, "since", now)?.unwrap_or(UnixMs::MIN),
            after: parameters.get("after").map(str::to_owned),
            limit,
        })
    }

    fn takes(&self, arrival: &Arrival) -> bool {
        arrival.received >= self.since
            && self.filter.as_ref().is_none_or(|filter| {
                let raw = arrival.raw.as_deref().unwrap_or_default();
                filter.decide(&Facts::read(raw, Details::Absent)) == FilterVerdict::Wanted
            })
    }
}

/// Reads an instant: an RFC 3339 time, or a duration back from `now` such as `24h`.
pub(super) fn instant(parameters: &Parameters, name: &str, now: UnixMs) -> Result<Option<UnixMs>, ParameterRefusal> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    let instant = UnixMs::parse(text).or_else(|| settings::parse_duration(text).ok().map(|back| now.before(back)));
    let wrong = || ParameterRefusal(format!("{name} is an RFC 3339 time, or a duration back such as 24h"));
    instant.map(Some).ok_or_else(wrong)
}

/// Reads the messages of a query. If the query has `id`, this is the message with this id. If it has `after`, these are
/// the messages that were released after the message with that id. Otherwise they are the newest messages. `codes`
/// finds the codes of the messages.
pub(super) fn messages(
    spool: &Spool,
    query: &MessageQuery,
    codes: &CodeFinder,
) -> Result<MessageList, OperatorRefusal> {
    if let Some(id) = &query.id {
        let place = spool.trace(id)?.and_then(|trace| trace.release_no);
        let found = match place {
            Some(place) => spool.arrivals(place - 1, 1)?,
            None => Vec::new(),
        };
        let found = found.into_iter().filter(|arrival| arrival.id == *id && query.takes(arrival));
        return listed(spool, codes, found.collect(), false);
    }
    let Some(after) = &query.after else {
        let (mut found, more) = search(query, i64::MAX, |from| spool.arrivals_before(from, PORTION))?;
        found.reverse();
        return listed(spool, codes, found, more);
    };
    // If the state has forgotten the id `after`, all stored messages came after that message.
    let place = spool.trace(after)?.and_then(|trace| trace.release_no).unwrap_or(0);
    let (found, more) = search(query, place, |from| spool.arrivals(from, PORTION))?;
    listed(spool, codes, found, more)
}

/// Goes through portions of messages until enough were found, or until [`MOST_LOOKED_AT`] were looked at. Returns the
/// messages that were found, and whether there may be more.
fn search(
    query: &MessageQuery,
    begin: i64,
    portion: impl Fn(i64) -> Result<Vec<Arrival>, Error>,
) -> Result<(Vec<Arrival>, bool), Error> {
    let (mut found, mut looked_at, mut from) = (Vec::new(), 0, begin);
    loop {
        let arrivals = portion(from)?;
        let Some(last) = arrivals.last() else { return Ok((found, false)) };
        from = last.place;
        looked_at += arrivals.len();
        for arrival in arrivals {
            if query.takes(&arrival) {
                if found.len() == query.limit {
                    return Ok((found, true));
                }
                found.push(arrival);
            }
        }
        if looked_at >= MOST_LOOKED_AT {
            return Ok((found, true));
        }
    }
}

fn listed(
    spool: &Spool,
    codes: &CodeFinder,
    arrivals: Vec<Arrival>,
    more: bool,
) -> Result<MessageList, OperatorRefusal> {
    let messages = arrivals.into_iter().map(|arrival| ListedMessage::of(spool, arrival, codes));
    Ok(MessageList { messages: messages.collect::<Result<_, Error>>()?, more })
}

impl ListedMessage {
    /// Adds the deliveries and the code to a message.
    pub(super) fn of(spool: &Spool, arrival: Arrival, codes: &CodeFinder) -> Result<Self, Error> {
        let texts = arrival.raw.as_deref().map(MessageTexts::of).unwrap_or_default();
        let code = arrival.raw.as_deref().and_then(|raw| codes.find(raw));
        let sinks = spool.trace(&arrival.id)?.map(|trace| trace.deliveries).unwrap_or_default();
        Ok(Self {
            id: arrival.id,
            received_at: arrival.received,
            code,
            message: arrival.raw.and_then(|raw| RawValue::from_string(raw).ok()),
            sinks,
            texts,
            place: arrival.place,
        })
    }
}
