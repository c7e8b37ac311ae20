//! What is done to a request instead of sending it on: answers, redirects, limits of rates.

use super::common::{LOCAL_FILE, PORT};
use crate::field::{Field, Message, Type};
use crate::field::{count, flag, int, list, message, one_of, text};

/// The status codes of answers that an engine makes itself.
pub const fn local_status() -> Field {
    one_of(
        "status_code",
        &[
            "HTTP_LOCAL_RESPONSE_STATUS_CODE_200",
            "HTTP_LOCAL_RESPONSE_STATUS_CODE_204",
            "HTTP_LOCAL_RESPONSE_STATUS_CODE_403",
            "HTTP_LOCAL_RESPONSE_STATUS_CODE_404",
            "HTTP_LOCAL_RESPONSE_STATUS_CODE_429",
            "HTTP_LOCAL_RESPONSE_STATUS_CODE_501",
        ],
    )
}

/// A part of an address, made of parts of the request's.
pub static URI_PARAM: Message = Message {
    name: "URIParam",
    fields: &[
        one_of("type", &["URI_PARAM_TYPE_TOKENIZED"]).required(),
        list("tokens", &Type::Message(&URI_TOKEN), 64),
    ],
};

static URI_TOKEN: Message = Message {
    name: "URIParamToken",
    fields: &[
        one_of(
            "type",
            &[
                "URI_TOKEN_TYPE_HOST",
                "URI_TOKEN_TYPE_PATH",
                "URI_TOKEN_TYPE_STRING",
                "URI_TOKEN_TYPE_STRING_GROUP",
                "URI_TOKEN_TYPE_REGEX",
                "URI_TOKEN_TYPE_REGEX_QUERY",
            ],
        )
        .required(),
        count("start_index"),
        // 65535: to the end.
        int("end_index", &[(0, 65_534), (65_535, 65_535)]),
        text("str_value"),
    ],
};

/// Sends the client elsewhere.
pub static REDIRECT: Message = Message {
    name: "HTTPRedirectAction",
    fields: &[
        one_of("protocol", &["HTTP", "HTTPS"]).required(),
        int("port", PORT),
        message("host", &URI_PARAM),
        message("path", &URI_PARAM),
        flag("keep_query").or_true(),
        text("add_string"),
        one_of(
            "status_code",
            &[
                "HTTP_REDIRECT_STATUS_CODE_301",
                "HTTP_REDIRECT_STATUS_CODE_302",
                "HTTP_REDIRECT_STATUS_CODE_307",
            ],
        )
        .or_text("HTTP_REDIRECT_STATUS_CODE_302"),
    ],
};

/// A limit of a rate, and what is counted by itself.
pub static RATE_PROFILE: Message = Message {
    name: "RateProfile",
    fields: &[
        message("rate_limiter", &RATE_LIMITER),
        message("action", &RATE_ACTION).required(),
        flag("explicit_tracking").or_false(),
        flag("fine_grain").or_false(),
        text("http_cookie"),
        text("http_header"),
    ],
};

/// So many in a period.
pub static RATE_LIMITER: Message = Message {
    name: "RateLimiter",
    fields: &[
        int("burst_sz", &[(0, 1_000_000_000)]).or_int(0),
        int("count", &[(1, 1_000_000_000)]).required().or_int(1_000_000_000),
        text("name"),
        int("period", &[(1, 1_000_000_000)]).required().unit("s").or_int(1),
    ],
};

/// What is done above the limit.
pub static RATE_ACTION: Message = Message {
    name: "RateLimiterAction",
    fields: &[
        one_of(
            "type",
            &[
                "RL_ACTION_NONE",
                "RL_ACTION_DROP_CONN",
                "RL_ACTION_RESET_CONN",
                "RL_ACTION_CLOSE_CONN",
                "RL_ACTION_LOCAL_RSP",
                "RL_ACTION_REDIRECT",
            ],
        )
        .or_text("RL_ACTION_NONE"),
        local_status().or_text("HTTP_LOCAL_RESPONSE_STATUS_CODE_429"),
        message("file", &LOCAL_FILE),
        message("redirect", &REDIRECT),
    ],
};
