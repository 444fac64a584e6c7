// SPDX-License-Identifier: MPL-2.0
//! URIs of buffers: `tdshm://NAME?width=1920&height=1080`, percent-encoded (RFC 3986).
//!
//! The name is all that stands between `://` and `?`, so that any name can be written; each parameter is a
//! property of the source.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

/// What RFC 3986 calls unreserved stays as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A buffer's URI, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferUri {
    /// In lower case, without `://`.
    pub scheme: String,
    /// The buffer's name, decoded. Never empty.
    pub name: String,
    /// Parameters in their order, decoded.
    pub parameters: Vec<(String, String)>,
}

/// Why a text is no buffer's URI.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// There is no scheme.
    #[error("{uri:?} has no scheme: expected SCHEME://NAME")]
    NoScheme {
        /// The text.
        uri: String,
    },
    /// The name is empty.
    #[error("{uri:?} names no buffer: expected {scheme}://NAME")]
    NoName {
        /// The text.
        uri: String,
        /// Its scheme.
        scheme: String,
    },
    /// A parameter has no `=`.
    #[error("parameter {parameter:?} has no value: expected name=value")]
    NoValue {
        /// The parameter.
        parameter: String,
    },
    /// Decoded bytes are not UTF-8.
    #[error("{part:?} is not UTF-8 once its percent signs are decoded")]
    NotUtf8 {
        /// The part as it was written.
        part: String,
    },
}

impl BufferUri {
    /// Takes `uri` apart.
    ///
    /// # Errors
    /// When it has no scheme, no name, a parameter without a value, or decodes to something that is not UTF-8.
    pub fn parse(uri: &str) -> Result<Self, UriError> {
        let (scheme, rest) = uri
            .split_once("://")
            .filter(|(scheme, _)| !scheme.is_empty())
            .ok_or_else(|| UriError::NoScheme { uri: uri.into() })?;
        let scheme = scheme.to_ascii_lowercase();
        let (name, query) = rest.split_once('?').map_or((rest, None), |(name, query)| (name, Some(query)));
        let name = decode(name.strip_suffix('/').unwrap_or(name))?;
        if name.is_empty() {
            return Err(UriError::NoName { uri: uri.into(), scheme });
        }
        let parameters = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').ok_or(UriError::NoValue { parameter: pair.into() })?;
                Ok((decode(key)?, decode(value)?))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { scheme, name, parameters })
    }
}

impl std::fmt::Display for BufferUri {
    /// The URI again, percent-encoded.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, utf8_percent_encode(&self.name, RESERVED))?;
        for (index, (key, value)) in self.parameters.iter().enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            write!(f, "{mark}{}={}", utf8_percent_encode(key, RESERVED), utf8_percent_encode(value, RESERVED))?;
        }
        Ok(())
    }
}

fn decode(part: &str) -> Result<String, UriError> {
    let decoded = percent_decode_str(part).decode_utf8().map_err(|_| UriError::NotUtf8 { part: part.into() })?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_geometry() {
        let uri = BufferUri::parse("tdshm://cam1?width=1920&height=1080").unwrap();
        assert_eq!(uri.name, "cam1");
        assert_eq!(uri.parameters, [("width".into(), "1920".into()), ("height".into(), "1080".into())]);
    }

    #[test]
    fn any_name_survives_the_way_there_and_back() {
        for name in ["cudalink_ipc_TD>>Python", "Cam 1", "a?b&c=d%", "ünïcode", "trailing/"] {
            let uri = BufferUri {
                scheme: "tdcudaipc".into(),
                name: name.into(),
                parameters: vec![("framerate".into(), "60000/1001".into())],
            };
            assert_eq!(BufferUri::parse(&uri.to_string()), Ok(uri));
        }
    }

    #[test]
    fn a_trailing_slash_that_tools_add_is_not_part_of_the_name() {
        assert_eq!(BufferUri::parse("tdshm://cam1/?width=4").unwrap().name, "cam1");
    }

    #[test]
    fn what_is_no_uri_says_why() {
        assert!(matches!(BufferUri::parse("cam1"), Err(UriError::NoScheme { .. })));
        assert!(matches!(BufferUri::parse("://cam1"), Err(UriError::NoScheme { .. })));
        assert!(matches!(BufferUri::parse("tdshm://?width=1"), Err(UriError::NoName { .. })));
        assert!(matches!(BufferUri::parse("tdshm://cam1?width"), Err(UriError::NoValue { .. })));
        assert!(matches!(BufferUri::parse("tdshm://%FF"), Err(UriError::NotUtf8 { .. })));
    }
}
