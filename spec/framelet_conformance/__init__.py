"""The conformance suite of Framelet: holds any server or client, in any language, to the specification."""
