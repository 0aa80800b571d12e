//! Does an answer say that nothing more may be asked for a while?
//!
//! None of the providers documents such headers, but gateways before them send them: `X-RateLimit-Remaining` and `-Reset`
//! (also `X-Rate-Limit-…` and, without the X, as in the IETF's early drafts), and `RateLimit` of the later ones
//! (draft-ietf-httpapi-ratelimit-headers: `"policy";r=0;t=30`, before that `limit=10, remaining=0, reset=30`). Only "nothing
//! remains" is read, as a pause before a 429 has to ask for it; everything else, and everything that cannot be read, is
//! ignored.

use std::time::Duration;

use http::HeaderMap;

use super::retry_after::bounded;

const REMAINING: [&str; 3] = ["x-ratelimit-remaining", "x-rate-limit-remaining", "ratelimit-remaining"];
const RESET: [&str; 3] = ["x-ratelimit-reset", "x-rate-limit-reset", "ratelimit-reset"];
/// A shorter pause is none: where seconds are counted one by one, a rounded second would halve the rate.
const SHORTEST: u64 = 2;
/// From here on a number is a time since 1970 rather than a number of seconds; and from here on it is in milliseconds.
const EPOCH_SECONDS: u64 = 1_000_000_000;
const EPOCH_MILLISECONDS: u64 = 1_000_000_000_000;

/// The pause that an answer's quota asks for, bounded like a `Retry-After`. `now` is the answer's own time, in seconds
/// since 1970.
pub fn exhausted(headers: &HeaderMap, now: i64) -> Option<Duration> {
    let number = |name: &str| number(headers.get(name)?.to_str().ok()?);
    let separate = REMAINING.iter().zip(RESET).filter_map(|(remaining, reset)| {
        let remaining = number(remaining)?;
        Some((remaining, number(reset)?))
    });
    let joint = headers.get_all("ratelimit").iter().filter_map(|value| value.to_str().ok()).flat_map(members);
    let resets = separate.chain(joint).filter(|(remaining, _)| *remaining == 0).map(|(_, reset)| reset);
    let longest = resets.map(|reset| seconds(reset, now)).max()?;
    (longest >= SHORTEST).then(|| bounded(longest))
}

/// A reset as seconds from `now`.
fn seconds(reset: u64, now: i64) -> u64 {
    let at = match reset {
        EPOCH_MILLISECONDS.. => reset / 1000,
        EPOCH_SECONDS.. => reset,
        _ => return reset,
    };
    at.saturating_sub(u64::try_from(now).unwrap_or(0))
}

/// The pairs of what remains and when that changes, of every member of a `RateLimit` field.
fn members(value: &str) -> impl Iterator<Item = (u64, u64)> {
    // In the older form the parameters themselves are the members of the list: the whole field is one.
    let whole = pair(value.split(','), "remaining", "reset");
    value.split(',').filter_map(|member| pair(member.split(';'), "r", "t")).chain(whole)
}

fn pair<'a>(parameters: impl Iterator<Item = &'a str> + Clone, remaining: &str, reset: &str) -> Option<(u64, u64)> {
    let find = |wanted: &str| {
        let mut named = parameters.clone().filter_map(|parameter| parameter.split_once('='));
        named.find(|(name, _)| name.trim() == wanted).and_then(|(_, value)| number(value))
    };
    Some((find(remaining)?, find(reset)?))
}

/// A number as such headers hold it: digits, perhaps with a fraction, which is rounded up.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let more = u64::from(fraction.bytes().any(|b| b != b'0'));
    whole.parse::<u64>().ok()?.checked_add(more)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn read(headers: &[(&str, &str)]) -> Option<u64> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        exhausted(&map, NOW).map(|pause| pause.as_secs())
    }

    #[test]
    fn nothing_left_is_a_pause_until_the_reset_in_every_spelling() {
        for (remaining, reset) in REMAINING.iter().zip(RESET) {
            assert_eq!(read(&[(remaining, "0"), (reset, "30")]), Some(30), "{remaining}");
            assert_eq!(read(&[(remaining, "0"), (reset, "1800000030")]), Some(30), "{remaining} since 1970");
            assert_eq!(read(&[(remaining, "0"), (reset, "1800000030000")]), Some(30), "{remaining} in milliseconds");
            assert_eq!(read(&[(remaining, "1"), (reset, "30")]), None, "{remaining}");
        }
        for field in
            [r#""default";r=0;t=30"#, r#""minute";r=3;t=5, "hour";r=0;t=30"#, "limit=100, remaining=0, reset=30"]
        {
            assert_eq!(read(&[("ratelimit", field)]), Some(30), "{field}");
        }
        assert_eq!(read(&[("ratelimit", r#""default";r=5;t=30"#)]), None);
        assert_eq!(read(&[("ratelimit", r#""a";r=0;t=5"#), ("ratelimit", r#""b";r=0;t=7"#)]), Some(7));
    }

    #[test]
    fn a_second_or_a_time_that_has_passed_is_no_pause() {
        for reset in ["0", "1", "1799999999", "0.2"] {
            assert_eq!(read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]), None, "{reset}");
        }
        assert_eq!(read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1.5")]), Some(2));
    }

    #[test]
    fn absurd_and_unreadable_values_are_bounded_or_ignored() {
        assert_eq!(read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7200")]), Some(900));
        assert_eq!(read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "999999999")]), Some(60));
        for bad in ["", "-1", "soon", "1e3", "9999999999999999999999", "0x10", "1.", ".5", "NaN"] {
            let pause = read(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", bad)]);
            assert!(pause.is_none(), "{bad:?} {pause:?}");
            assert_eq!(read(&[("x-ratelimit-remaining", bad), ("x-ratelimit-reset", "30")]), None, "{bad:?}");
        }
        assert_eq!(read(&[("x-ratelimit-remaining", "0")]), None);
        assert_eq!(read(&[("ratelimit", ";;;,,=,r=,t=;r=0")]), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_the_pause_is_bounded(remaining in "[0-9.]{0,3}", reset in "\\PC{0,24}", field in "[ -~]{0,60}") {
            let mut map = HeaderMap::new();
            for (name, value) in [("x-ratelimit-remaining", &remaining), ("x-ratelimit-reset", &reset), ("ratelimit", &field)] {
                if let Ok(value) = value.parse() {
                    map.insert(name, value);
                }
            }
            prop_assert!(exhausted(&map, NOW).is_none_or(|pause| (2..=900).contains(&pause.as_secs())));
        }
    }
}
