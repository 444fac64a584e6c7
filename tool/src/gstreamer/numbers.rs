// SPDX-License-Identifier: MPL-2.0
//! Rates and sizes as they are typed.

/// A rate, `60` or `30000/1001`.
pub fn rate(text: &str) -> Result<(u32, u32), String> {
    let (num, den) = text.split_once('/').unwrap_or((text, "1"));
    match (num.trim().parse(), den.trim().parse()) {
        (Ok(num), Ok(den)) if num > 0 && den > 0 && num / den <= 1000 => Ok((num, den)),
        _ => Err("expected frames a second such as 60 or 30000/1001".into()),
    }
}

/// A size, `1920x1080`, in even numbers.
pub fn size(text: &str) -> Result<(u32, u32), String> {
    let read = |(width, height): (&str, &str)| Some((width.parse().ok()?, height.parse().ok()?));
    match text.split_once(['x', 'X', '×']).and_then(read) {
        Some((width, height)) if width >= 2 && height >= 2 && width % 2 == 0 && height % 2 == 0 => Ok((width, height)),
        _ => Err("expected an even width and height such as 1920x1080".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_sizes_are_read_or_refused() {
        assert_eq!(rate("30000/1001"), Ok((30000, 1001)));
        assert_eq!(rate("60"), Ok((60, 1)));
        assert!(rate("0").is_err() && rate("60/0").is_err() && rate("fast").is_err());
        assert_eq!(size("1920x1080"), Ok((1920, 1080)));
        assert!(size("1921x1080").is_err() && size("x").is_err());
    }
}
