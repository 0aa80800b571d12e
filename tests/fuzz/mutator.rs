//! From a few good inputs to many bad ones, the same for the same seed.

use crate::dice::Dice;

/// Words that mean something to one parser or another.
const WORDS: &[&str] = &[
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "-9223372036854775809",
    "253402300800",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\u{feff}",
    "\u{202e}",
    "\r\n",
    "\0",
    ",",
    ":",
    "]",
    "}",
    "\"",
    "<",
    ">",
    "; rel=\"next\"",
    "rel=next",
    "../",
    "%2e%2e",
    "@",
    "#",
    "//",
    "\\",
    "http://other.example/",
    "https://[::1]:0/",
    "> list",
    "> find",
    "> read",
    "> sets",
    "> write",
    "> verify",
    "> sessions",
    "> complete",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 401 Unauthorized",
    "HTTP/1.1 403 Forbidden",
    "HTTP/1.1 404 Not Found",
    "HTTP/1.1 409 Conflict",
    "HTTP/1.1 422 Unprocessable Content",
    "HTTP/1.1 429 Too Many Requests",
    "HTTP/1.1 503 Service Unavailable",
    "HTTP/1.1 302 Found",
    "location: http://other.example/",
    "content-length: 18446744073709551615",
    "content-length: 1",
    "transfer-encoding: chunked",
    "content-encoding: gzip",
    "content-type: text/html",
    "retry-after: 0",
    "retry-after: 99999999999999999999",
    "retry-after: Fri, 31 Dec 9999 23:59:59 GMT",
    "date: Thu, 01 Jan 1970 00:00:00 GMT",
    "date: Sun, 31 Dec 9999 23:59:60 GMT",
    "x-ratelimit-remaining: -1",
    "x-ratelimit-reset: 99999999999",
    "ratelimit: limit=1, remaining=0, reset=1e9",
    "x-total-count: -1",
    "x-pagination: {}",
    "x-pagination: {\"has_next\":true}",
    "link: </>; rel=next",
    "-----BEGIN CERTIFICATE-----",
    "-----END CERTIFICATE-----",
];

/// How deep a nest may get: around serde_json's own limit, and far beyond.
const DEPTHS: &[usize] = &[2, 127, 128, 129, 5_000, 100_000];

/// Makes inputs.
pub struct Mutator {
    dice: Dice,
}

impl Mutator {
    /// The inputs of this seed for this target.
    pub fn new(seed: u64, target: &str) -> Self {
        let seed = target.bytes().fold(seed, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { dice: Dice(seed) }
    }

    /// Below `bound`; 0 for 0.
    fn below(&mut self, bound: usize) -> usize {
        self.dice.below(bound as u64) as usize
    }

    /// So many of `all`, in another order.
    pub fn some<T>(&mut self, mut all: Vec<T>, many: usize) -> Vec<T> {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
        all.truncate(many);
        all
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &'a [&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn range(&mut self, length: usize) -> (usize, usize) {
        let start = self.below(length + 1);
        let end = start + self.below((length - start).min(64) + 1);
        (start, end)
    }

    /// The next input, of at most `largest` bytes.
    pub fn input(&mut self, corpus: &[Vec<u8>], largest: usize) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            self.mutate(&mut input, corpus);
            input.truncate(largest);
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let (start, end) = self.range(input.len());
        match self.below(12) {
            0 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] ^= 1 << self.below(8);
            }
            1 if !input.is_empty() => {
                let at = self.below(input.len());
                input[at] = self.dice.next() as u8;
            }
            2 => drop(input.drain(start..end)),
            3 => {
                let copy = input[start..end].to_vec();
                let at = self.below(input.len() + 1);
                input.splice(at..at, copy);
            }
            4 => {
                let word = self.pick(WORDS);
                input.splice(start..start, word.bytes());
            }
            5 => {
                let word = self.pick(WORDS);
                input.splice(start..end, word.bytes());
            }
            6 => {
                let other = &corpus[self.below(corpus.len())];
                let tail = other[self.below(other.len() + 1)..].to_vec();
                input.truncate(start);
                input.extend(tail);
            }
            7 => input.truncate(start),
            8 => self.replace_number(input),
            9 => {
                let depth = DEPTHS[self.below(DEPTHS.len())];
                let open: &str = self.pick(&["[", "{\"a\":", "<", "("]);
                input.splice(start..start, open.repeat(depth).into_bytes());
            }
            10 => {
                let copy = input[start..end].to_vec();
                let times = (1 + self.below(1_000)).min(65_536 / copy.len().max(1));
                input.splice(start..start, copy.repeat(times));
            }
            _ => self.replace_line(input),
        }
    }

    /// Puts a word in the place of some number.
    fn replace_number(&mut self, input: &mut Vec<u8>) {
        let from = self.below(input.len());
        let Some(start) = input.iter().skip(from).position(u8::is_ascii_digit).map(|at| at + from) else { return };
        let end = input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |at| at + start);
        let number = match self.below(4) {
            0 => "9".repeat(1 + self.below(400)),
            1 => "-1".to_owned(),
            2 => self.dice.next().to_string(),
            _ => "1e400".to_owned(),
        };
        input.splice(start..end, number.into_bytes());
    }

    /// Puts a word in the place of some line.
    fn replace_line(&mut self, input: &mut Vec<u8>) {
        let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
        let chosen = self.below(lines);
        let word = self.pick(WORDS).as_bytes();
        let parts: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
        let replaced: Vec<&[u8]> =
            parts.iter().enumerate().map(|(at, part)| if at == chosen { word } else { part }).collect();
        *input = replaced.join(&b'\n');
    }
}

/// What is put in the place of a part of a good input, to take as much memory and as many steps as can be.
pub struct Bomb {
    /// What it is.
    pub what: String,
    from: usize,
    to: usize,
    filling: Filling,
}

enum Filling {
    /// The same again and again, with this between two of them, up to the largest size.
    Repeated(Vec<u8>, &'static [u8]),
    /// Members with different names, up to the largest size.
    Members,
    /// So many levels.
    Nest(&'static str),
}

impl Bomb {
    /// The input with the bomb in it, of at most `largest` bytes.
    pub fn made_of(&self, input: &[u8], largest: usize) -> Vec<u8> {
        let room = largest.saturating_sub(input.len());
        let filling = match &self.filling {
            Filling::Repeated(element, between) => {
                let times = (room / (element.len() + between.len()).max(1)).max(1);
                vec![element.as_slice(); times].join(*between)
            }
            Filling::Members => {
                let mut members = String::new();
                for number in 0.. {
                    let member = format!("\"m{number}\":[],");
                    if members.len() + member.len() > room {
                        break;
                    }
                    members += &member;
                }
                members.into_bytes()
            }
            Filling::Nest(level) => level.repeat((room / level.len()).min(100_000)).into_bytes(),
        };
        let mut made = [&input[..self.from], &filling, &input[self.to..]].concat();
        made.truncate(largest);
        made
    }
}

/// Every bomb that fits an input: each list filled up, each text as long as can be or a nest instead, many members,
/// endless digits.
pub fn bombs(input: &[u8]) -> Vec<Bomb> {
    let mut bombs = Vec::new();
    let mut put = |what: String, from: usize, to: usize, filling: Filling| bombs.push(Bomb { what, from, to, filling });
    for (number, start) in positions(input, b'[').into_iter().enumerate() {
        let (from, to) = (start + 1, closing(input, start));
        for element in [first_element(&input[from..to]), b"{}", b"\"\"", b"[]", b"0"] {
            let what = format!("list {number} of {}", String::from_utf8_lossy(&element[..element.len().min(20)]));
            put(what, from, to, Filling::Repeated(element.to_vec(), b","));
        }
        put(format!("a nest in list {number}"), from, to, Filling::Nest("["));
    }
    for (number, start) in positions(input, b'{').into_iter().enumerate().take(3) {
        put(format!("members of object {number}"), start + 1, start + 1, Filling::Members);
    }
    for (number, colon) in positions(input, b':').into_iter().enumerate() {
        let value = &input[colon + 1..];
        let Some(length) = value.strip_prefix(b"\"").and_then(|text| text.iter().position(|byte| *byte == b'"')) else {
            continue;
        };
        let (from, to) = (colon + 2, colon + 2 + length);
        put(format!("a long text {number}"), from, to, Filling::Repeated(b"q".to_vec(), b""));
        put(format!("a nest for text {number}"), from - 1, to + 1, Filling::Nest("{\"a\":"));
    }
    if let Some(start) = input.iter().position(u8::is_ascii_digit) {
        put("endless digits".to_owned(), start, start, Filling::Repeated(b"9".to_vec(), b""));
    }
    put("again and again".to_owned(), 0, input.len(), Filling::Repeated(input.to_vec(), b""));
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    put("one endless line".to_owned(), 0, line.len(), Filling::Repeated(line.to_vec(), b""));
    bombs
}

fn positions(input: &[u8], wanted: u8) -> Vec<usize> {
    input.iter().enumerate().filter(|(_, byte)| **byte == wanted).map(|(at, _)| at).collect()
}

/// Where the bracket at `start` closes, or the end.
fn closing(input: &[u8], start: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in input.iter().enumerate().skip(start) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    input.len()
}

/// The first element of a list.
fn first_element(inside: &[u8]) -> &[u8] {
    let mut depth = 0;
    for (at, byte) in inside.iter().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => return &inside[..at],
            _ => {}
        }
    }
    inside
}
