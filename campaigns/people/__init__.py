"""Who: identity, ad ids, consent."""
