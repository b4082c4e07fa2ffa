# Written by spec/make_dissectors.py from spec/templates/framelet.ksy: change it there.
meta:
  id: framelet
  title: "Framelet, version @VERSION: one direction of a connection"
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
@header
      - id: body
        size: length
        type:
          switch-on: kind
          cases:
@bodies
    instances:
      kind:
        doc: What the type stands for; a range of types is named by its lowest octet.
        value: >-
@kind_of_type
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
          expr: _io.size <= @MAX_PING_BODY
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
          expr: _io.size <= @MAX_ERROR_BODY
    instances:
      code:
        value: (hundreds - 0x30) * 100 + (tens - 0x30) * 10 + (ones - 0x30)
      name:
        value: code
        enum: error_code
      is_fatal:
        value: code >= 500
      is_application:
        value: code >= @FIRST_APPLICATION_CODE and code <= @LAST_APPLICATION_CODE
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
          expr: _io.size <= @MAX_HELLO_BODY
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
          expr: _io.size <= @MAX_STOPPED_BODY
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
@kinds
  error_code:
@error_codes
