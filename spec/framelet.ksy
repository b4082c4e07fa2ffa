# Written by spec/make_dissectors.py from spec/templates/framelet.ksy: change it there.
meta:
  id: framelet
  title: "Framelet, version 1: one direction of a connection"
  license: Apache-2.0
  ks-version: "0.11"
  encoding: UTF-8
  endian: be
doc: |
  The frames that one end of a connection sends, as SPEC.md lays them out, up to the end of the last one.

  Every type is parsed, also those that a receiver must refuse: `kind` tells them apart.  A body that is
  not of its form is a validation error.  What a Kaitai expression cannot say is left to the reader: that
  no key stands twice, which values a known key may have, and that STOPPED states `closed` and `cut`.
seq:
  - id: frames
    type: frame
    repeat: eos
types:
  frame:
    seq:
      - id: type
        type: u1
      - id: length
        type: u4
      - id: body
        size: length
        type:
          switch-on: kind
          cases:
            kind::request: text
            kind::reply: text
            kind::stop: text
            kind::stopped: stopped_body
            kind::error: error_body
            kind::ping: ping_body
            kind::pong: ping_body
            kind::hello: hello_body
            kind::application: text
    instances:
      kind:
        doc: What the type stands for; a range of types is named by its lowest octet.
        value: >-
          type >= 0xc0 ? 0xc0 :
          type >= 0x80 ? 0x80 :
          type >= 0x54 ? 0x09 :
          type == 0x53 ? 0x00 :
          type >= 0x51 ? 0x09 :
          type == 0x50 ? 0x00 :
          type >= 0x48 ? 0x09 :
          type == 0x47 ? 0x00 :
          type >= 0x17 ? 0x09 :
          type == 0x16 ? 0x00 :
          type >= 0x09 ? 0x09 :
          type == 0x08 ? 0x08 :
          type == 0x07 ? 0x07 :
          type == 0x06 ? 0x06 :
          type == 0x05 ? 0x05 :
          type == 0x04 ? 0x04 :
          type == 0x03 ? 0x03 :
          type == 0x02 ? 0x02 :
          type == 0x01 ? 0x01 :
          0x00
        enum: kind
  text:
    seq:
      - id: value
        type: str
        size-eos: true
  ping_body:
    seq:
      - id: value
        type: str
        size-eos: true
        valid:
          expr: _io.size <= 64
  error_body:
    doc: Three digits, a space, and a text for people.
    seq:
      - id: hundreds
        type: u1
        valid:
          min: 0x34
          max: 0x35
      - id: tens
        type: u1
        valid:
          min: 0x30
          max: 0x39
      - id: ones
        type: u1
        valid:
          min: 0x30
          max: 0x39
      - id: space
        contents: " "
      - id: text
        type: str
        size-eos: true
        valid:
          expr: _io.size <= 1024
    instances:
      code:
        value: (hundreds - 0x30) * 100 + (tens - 0x30) * 10 + (ones - 0x30)
      name:
        value: code
        enum: error_code
      is_fatal:
        value: code >= 500
      is_application:
        value: code >= 460 and code <= 499
  hello_body:
    seq:
      - id: protocol
        contents: framelet/
      - id: version
        type: version
        terminator: 0x20
        consume: false
        eos-error: false
        valid:
          expr: _io.size <= 1024
      - id: parameters
        type: parameter(false)
        repeat: eos
  stopped_body:
    seq:
      - id: parameters
        type: parameter(_index == 0)
        repeat: until
        repeat-until: _io.eof
        valid:
          expr: _io.size <= 1024
  version:
    seq:
      - id: first
        type: u1
        valid:
          expr: _ >= 0x31 and _ <= 0x39 and _io.size <= 5
      - id: others
        type: u1
        repeat: eos
        valid:
          min: 0x30
          max: 0x39
    instances:
      text:
        pos: 0
        size-eos: true
        type: str
      number:
        value: text.to_i
  parameter:
    params:
      - id: is_first
        type: bool
    seq:
      - id: space
        contents: " "
        if: not is_first
      - id: key
        type: key
        terminator: 0x3d
      - id: value
        type: value
        terminator: 0x20
        consume: false
        eos-error: false
  key:
    seq:
      - id: first
        type: u1
        valid:
          expr: _ >= 0x61 and _ <= 0x7a and _io.size <= 32
      - id: others
        type: u1
        repeat: eos
        valid:
          expr: (_ >= 0x61 and _ <= 0x7a) or (_ >= 0x30 and _ <= 0x39) or _ == 0x2d
    instances:
      text:
        pos: 0
        size-eos: true
        type: str
  value:
    seq:
      - id: octets
        type: u1
        repeat: until
        repeat-until: _io.eof
        valid:
          min: 0x21
          max: 0x7e
    instances:
      text:
        pos: 0
        size-eos: true
        type: str
enums:
  kind:
    0x00: never_assigned
    0x01: request
    0x02: reply
    0x03: stop
    0x04: stopped
    0x05: error
    0x06: ping
    0x07: pong
    0x08: hello
    0x09: critical
    0x80: ignorable
    0xc0: application
  error_code:
    400: ill_formed_text
    403: stop_refused
    404: no_handler
    413: ping_too_large
    422: hello_malformed
    426: version_unsupported
    450: handler_failed
    451: answer_too_large
    500: internal_error
    501: type_unknown
    502: type_unexpected
    503: frame_too_large
    504: frame_timeout
    505: idle_timeout
    506: frame_truncated
    507: too_many_connections
    508: answer_malformed
    509: overloaded
