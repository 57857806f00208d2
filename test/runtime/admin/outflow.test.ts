// What is sent as it happens, to readers that are slow.

import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { Outflow } from '../../../runtime/admin/outflow.ts'

class FakeResponse extends EventEmitter {
  readonly written: string[] = []
  isFull = false
  writeHead(): void {}
  flushHeaders(): void {}
  write(text: string): boolean {
    this.written.push(text)
    return !this.isFull
  }
}

test('a reader that is slow is told how much it missed, and keeps no more than the bound waiting', () => {
  const response = new FakeResponse()
  const options = { contentType: 'text/plain', waitingMax: 2, missed: (count: number) => `missed ${count}` }
  const out = new Outflow(response as unknown as ServerResponse, options)
  response.isFull = true
  for (const piece of ['a', 'b', 'c', 'd', 'e']) out.push(piece)
  expect(response.written).toEqual(['a'])
  response.isFull = false
  response.emit('drain')
  expect(response.written).toEqual(['a', 'b', 'c', 'missed 2'])
  out.push('f')
  expect(response.written.at(-1)).toBe('f')
})

test('nothing is written to one that has gone', () => {
  const response = new FakeResponse()
  const out = new Outflow(response as unknown as ServerResponse, { contentType: 'text/plain', missed: String })
  response.emit('close')
  out.push('a')
  expect(response.written).toEqual([])
})
