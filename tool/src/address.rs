// SPDX-License-Identifier: MPL-2.0
//! Addresses, of which only the harmless part is repeated: stream keys and passwords are in the rest.

/// Where an address leads, without what is secret in it: `rtmp://HOST/…`.
pub fn redacted(url: &str) -> String {
    let (scheme, rest) = split(url);
    let end = rest.find(|c: char| "/?#\\".contains(c) || c.is_whitespace());
    let (host, path) = rest.split_at(end.unwrap_or(rest.len()));
    let host = match host.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        // A password with a slash in it.
        None if path.contains('@') => return format!("{scheme}…"),
        None => host.to_owned(),
    };
    let more = match path.chars().next() {
        Some(first) if path.len() > 1 => format!("{first}…"),
        _ => path.to_owned(),
    };
    format!("{scheme}{host}{more}")
}

/// A text of somebody else's, without what is secret in an address that it may repeat.
pub fn without_secrets(text: &str, url: &str) -> String {
    let mut text = text.replace(url, &redacted(url));
    let rest = split(url).1;
    let mut secrets: Vec<&str> = rest.split(|c: char| "/?&#@".contains(c)).skip(1).collect();
    if let Some((user, _)) = rest.rsplit_once('@') {
        secrets.extend(user.split([':', '/']));
    }
    for secret in secrets.clone() {
        secrets.extend(secret.split_once('=').map(|(_, value)| value));
    }
    // Parts first that hold others; what is shorter would tear words apart.
    secrets.retain(|secret| secret.chars().count() >= 4);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        text = text.replace(secret, "…");
    }
    text
}

/// The scheme with what parts it from the rest, and the rest.
fn split(url: &str) -> (&str, &str) {
    url.split_at(url.find("://").map_or(0, |at| at + 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_of_an_address_is_repeated() {
        let addresses = [
            ("rtmp://a.example/live/s3cret-key", "rtmp://a.example/…"),
            ("srt://a.example:7001?passphrase=s3cret-key", "srt://a.example:7001?…"),
            ("rtsp://me:s3cret-key@a.example:8554/x", "rtsp://…@a.example:8554/…"),
            ("rtsp://me:s3cret/key@a.example/x", "rtsp://…"),
            ("whips://a.example/s3cret-key?x=s3cret-key", "whips://a.example/…"),
            ("a.example/live/s3cret-key", "a.example/…"),
            ("srt://:7001", "srt://:7001"),
            ("cam1", "cam1"),
        ];
        for (url, shown) in addresses {
            assert_eq!(redacted(url), shown);
            let text = without_secrets(&format!("cannot open {url}: s3cret-key is not known"), url);
            assert!(!url.contains("s3cret-key") || !text.contains("s3cret"), "{text}");
        }
    }
}
