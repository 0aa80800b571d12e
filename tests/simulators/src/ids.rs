//! Ids that look random, belong to one index, and give the index back without a table.

use crate::population::mix;

const MULTIPLIER: u32 = 0x9e37_79b1;

/// A bijection on 32 bits.
fn scramble(seed: u64, purpose: u64, index: u32) -> u32 {
    index.wrapping_mul(MULTIPLIER) ^ mix(seed ^ mix(purpose)) as u32
}

fn unscramble(seed: u64, purpose: u64, value: u32) -> u32 {
    // Newton's iteration for the inverse modulo 2^32; each step doubles the number of right bits.
    let inverse = (0..5).fold(MULTIPLIER, |x, _| x.wrapping_mul(2_u32.wrapping_sub(MULTIPLIER.wrapping_mul(x))));
    (value ^ mix(seed ^ mix(purpose)) as u32).wrapping_mul(inverse)
}

/// A UUID (version 4 in form).
pub(crate) fn uuid(seed: u64, purpose: u64, index: u32) -> String {
    let rest = mix(seed ^ mix(purpose ^ u64::from(index) << 8));
    let more = mix(rest);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        scramble(seed, purpose, index),
        rest as u16,
        (rest >> 16) & 0xfff,
        0x8000 | ((rest >> 32) & 0x3fff),
        more & 0xffff_ffff_ffff
    )
}

/// The index that [`uuid`] made `text` from.
pub(crate) fn uuid_index(seed: u64, purpose: u64, text: &str) -> Option<u32> {
    let value = u32::from_str_radix(text.get(..8)?, 16).ok()?;
    let index = unscramble(seed, purpose, value);
    uuid(seed, purpose, index).eq_ignore_ascii_case(text).then_some(index)
}

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// 21 letters and digits, as in `UOtBaOybB6dTpIJNrnkRw`.
pub(crate) fn short_id(seed: u64, purpose: u64, index: u32) -> String {
    let mut head = u64::from(scramble(seed, purpose, index));
    let mut tail = u128::from(mix(seed ^ mix(purpose ^ u64::from(index) << 8)));
    tail |= u128::from(mix(tail as u64)) << 64;
    let digit = |value: u64| char::from(ALPHABET[(value % 62) as usize]);
    let mut text = String::with_capacity(21);
    for _ in 0..6 {
        text.push(digit(head));
        head /= 62;
    }
    for _ in 0..15 {
        text.push(digit((tail % 62) as u64));
        tail /= 62;
    }
    text
}

/// The index that [`short_id`] made `text` from.
pub(crate) fn short_id_index(seed: u64, purpose: u64, text: &str) -> Option<u32> {
    let mut value = 0_u64;
    for character in text.as_bytes().get(..6)?.iter().rev() {
        value = value * 62 + ALPHABET.iter().position(|known| known == character)? as u64;
    }
    let index = unscramble(seed, purpose, u32::try_from(value).ok()?);
    (short_id(seed, purpose, index) == text).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_gives_its_index_back_and_a_foreign_one_gives_none() {
        for index in [0, 1, 2, 4_711, 999_999, u32::MAX] {
            assert_eq!(uuid_index(1, 2, &uuid(1, 2, index)), Some(index));
            assert_eq!(short_id_index(1, 2, &short_id(1, 2, index)), Some(index));
            assert_eq!(uuid_index(3, 2, &uuid(1, 2, index)), None);
            assert_eq!(short_id_index(3, 2, &short_id(1, 2, index)), None);
        }
        assert_eq!(uuid(1, 2, 3).len(), 36);
        assert_eq!(short_id(1, 2, 3).len(), 21);
        assert_eq!(uuid_index(1, 2, "é"), None);
        assert_eq!(short_id_index(1, 2, ""), None);
    }
}
