//! How long does an answer ask us to wait, and what time was it there?

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The longest pause that is obeyed. Whoever names a longer one is asked again then.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// What a pause of more than a day is taken for: a mistake, or a page meant for robots.
const ABSURD: Duration = Duration::from_secs(60);
/// The shortest pause: "0" and a date in the past mean "now", which would be a loop.
const SHORTEST: Duration = Duration::from_secs(1);
const DAY: u64 = 24 * 60 * 60;

/// An HTTP date in any of its three forms (RFC 9110 §5.6.7: two are obsolete, and still to be read).
pub fn http_date(text: &str) -> Option<Timestamp> {
    static PARSER: jiff::fmt::rfc2822::DateTimeParser = jiff::fmt::rfc2822::DateTimeParser::new();
    let text = text.trim();
    let obsolete = |format| DateTime::strptime(format, text).ok()?.to_zoned(TimeZone::UTC).ok();
    PARSER.parse_timestamp(text).ok().or_else(|| {
        let time = obsolete("%A, %d-%b-%y %H:%M:%S GMT").or_else(|| obsolete("%a %b %e %H:%M:%S %Y"))?;
        Some(time.timestamp())
    })
}

/// The `Date` of an answer.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// The bounded `Retry-After` of an answer: seconds or an HTTP date, the latter measured from the answer's own `Date`.
/// `None` where the header is missing or unreadable.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(bounded(text.parse().unwrap_or(u64::MAX)));
    }
    // RFC 9110 section 10.2.3 knows whole seconds only; a part of one counts as a whole one.
    if let Some((whole, part)) = text.split_once('.')
        && [whole, part].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    {
        return Some(bounded(whole.parse().unwrap_or(u64::MAX).saturating_add(1)));
    }
    let until = http_date(text)?;
    let seconds = until.as_second().saturating_sub(date(headers).unwrap_or(now).as_second());
    Some(bounded(u64::try_from(seconds).unwrap_or(0)))
}

/// A pause in seconds as it is obeyed: at least 1 s, at most 15 minutes, and 60 s where more than a day is named.
pub fn bounded(seconds: u64) -> Duration {
    if seconds > DAY { ABSURD } else { Duration::from_secs(seconds).clamp(SHORTEST, LONGEST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "1994-11-06T08:49:37Z".parse().unwrap()
    }

    fn read(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers, now())
    }

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(read("6.2"), Some(Duration::from_secs(7)));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sunday, 06-Nov-94 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sun Nov  6 08:50:07 1994"), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_date_is_measured_from_the_date_of_the_answer() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:07 GMT".parse().unwrap());
        headers.insert(DATE, "Sun, 06 Nov 1994 08:50:02 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers, now()), Some(Duration::from_secs(5)));
    }

    #[test]
    fn no_pause_is_shorter_than_a_second_or_longer_than_a_quarter_of_an_hour() {
        assert_eq!(read("0"), Some(SHORTEST));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(SHORTEST));
        assert_eq!(read("3600"), Some(LONGEST));
    }

    #[test]
    fn a_pause_of_days_is_not_believed() {
        assert_eq!(read("86401"), Some(ABSURD));
        assert_eq!(read("99999999999999999999999"), Some(ABSURD));
        assert_eq!(read("Fri, 06 Nov 2099 08:50:07 GMT"), Some(ABSURD));
    }

    #[test]
    fn garbage_is_no_pause() {
        for bad in ["", "-1", "soon", "1.", ".5", "1e3"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now()), None);
    }
}
