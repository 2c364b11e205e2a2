//! Keys that other gateways and stores lose.

/// Several pairs differ only in what a careless decoder would merge.
pub(crate) const HARD_KEYS: [&str; 24] = [
    "a b.png",
    "a+b.png",
    "a%20b.png",
    "héllo/日本.png",
    "e\u{301}.png",
    "\u{e9}.png",
    "x//y.png",
    "x/y.png",
    "x%2Fz.png",
    "x/z.png",
    "q?a=b.png",
    "h#f.png",
    "amp&eq=.png",
    "p%.png",
    "tilde~'()*!.png",
    "trail/",
    "/lead.png",
    "semi;colon,at@$:.png",
    "back\\slash.png",
    "emoji😀.png",
    "nl%0A.png",
    "nl\n.png",
    "dot.",
    "plus+ and space.png",
];

/// Keys that stores accept and the gateway refuses: a proxy on the way might resolve the dots.
pub(crate) const DOTTED_KEYS: [&str; 3] = ["a/../b.png", "a/./b.png", ".."];
