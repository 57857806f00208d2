// Messages as bytes, for as long as they wait to be told.

import { expect, test } from 'vitest'
import { MessageCodec } from '../../../../cluster/swim/wire/codec.ts'

test('a message that waits holds its own bytes and no others', () => {
  const bytes = new MessageCodec().encode({ kind: 'frame', frameKind: 0xd2, payload: new Uint8Array(700) })
  expect(bytes.buffer.byteLength).toBe(bytes.length)
})
