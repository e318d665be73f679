//! How fast letters are replayed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// So many letters in a second, a minute or an hour; written `20/s`, `100/m`, `500/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    letters: u32,
    per: char,
}

impl Rate {
    /// Letters in this time, with their fraction.
    pub fn within(self, time: Duration) -> f64 {
        let seconds = match self.per {
            's' => 1.0,
            'm' => 60.0,
            _ => 3600.0,
        };
        f64::from(self.letters) * time.as_secs_f64() / seconds
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.letters, self.per)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no rate; write 20/s, 100/m or 500/h");
        let (letters, per) = text.split_once('/').ok_or_else(wrong)?;
        let letters = letters.parse().ok().filter(|letters| *letters > 0).ok_or_else(wrong)?;
        match per {
            "s" | "m" | "h" => Ok(Self { letters, per: per.chars().next().unwrap_or('h') }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for text in ["20/s", "100/m", "1/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "20", "0/s", "-1/s", "20/d", "20/sec", "x/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        let a_minute = Duration::from_secs(60);
        assert_eq!("20/s".parse::<Rate>().unwrap().within(a_minute), 1200.0);
        assert_eq!("6/m".parse::<Rate>().unwrap().within(Duration::from_secs(5)), 0.5);
    }
}
