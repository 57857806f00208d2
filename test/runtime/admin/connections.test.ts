// The bound of connections to a listener.

import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { Connections, type Verdict } from '../../../runtime/admin/connections.ts'

class FakeSocket extends EventEmitter {
  destroyed = false
  destroy(): void {
    this.destroyed = true
    this.emit('close')
  }
}

class FakeResponse extends EventEmitter {
  closed = false
  close(): void {
    this.closed = true
    this.emit('close')
  }
}

function ask(
  connections: Connections,
  socket: FakeSocket,
  { isProbe = false } = {},
): { response: FakeResponse; verdict: Verdict } {
  const response = new FakeResponse()
  const verdict = connections.began(socket as unknown as Socket, response as unknown as ServerResponse, isProbe)
  return { response, verdict }
}

function make(countMax: number, workingMax = countMax): { add(): FakeSocket; connections: Connections } {
  const connections = new Connections({ countMax, workingMax })
  const add = (): FakeSocket => {
    const socket = new FakeSocket()
    connections.add(socket as unknown as Socket)
    return socket
  }
  return { add, connections }
}

test('beyond the bound the one goes that has asked nothing for the longest time', () => {
  const { add, connections } = make(3)
  const [a, b, c] = [add(), add(), add()]
  const first = ask(connections, a as FakeSocket)
  const second = ask(connections, a as FakeSocket)
  add()
  expect([a, b, c].map((each) => each.destroyed)).toEqual([false, true, false])
  first.response.close()
  second.response.close()
  add()
  expect([a, c].map((each) => each.destroyed)).toEqual([false, true])
})

test('when all are busy it is the newcomer', () => {
  const { add, connections } = make(2)
  const busy = [add(), add()]
  for (const each of busy) ask(connections, each)
  expect(add().destroyed).toBe(true)
  expect(busy.map((each) => each.destroyed)).toEqual([false, false])
  busy[0]?.destroy()
  expect(add().destroyed).toBe(false)
})

test('who sends requests without reading the answers is hung up on', () => {
  const { add, connections } = make(2)
  const socket = add()
  const taken = Array.from({ length: 16 }, () => ask(connections, socket))
  expect(taken.every(({ verdict }) => verdict === 'taken')).toBe(true)
  taken[0]?.response.close()
  expect(ask(connections, socket).verdict).toBe('taken')
  expect(ask(connections, socket).verdict).toBe('closed')
  expect(socket.destroyed).toBe(true)
  expect(ask(connections, socket).verdict).toBe('closed')
})

test('some places are kept for probes, and the slowest probe makes room for a newcomer', () => {
  const { add, connections } = make(3, 1)
  const [worker, refused, probing] = [add(), add(), add()]
  const { response } = ask(connections, worker)
  expect(ask(connections, refused).verdict).toBe('refused')
  expect(ask(connections, refused, { isProbe: true }).verdict).toBe('taken')
  expect(ask(connections, probing, { isProbe: true }).verdict).toBe('taken')
  // A request behind a probe is one more, and the one that is under way may have others behind it.
  expect(ask(connections, probing).verdict).toBe('refused')
  expect(ask(connections, worker).verdict).toBe('taken')
  const newcomer = add()
  expect([worker, refused, probing, newcomer].map((each) => each.destroyed)).toEqual([false, true, false, false])
  expect(ask(connections, newcomer, { isProbe: true }).verdict).toBe('taken')
  response.close()
  expect(ask(connections, newcomer).verdict).toBe('refused')
  worker.destroy()
  expect(ask(connections, newcomer).verdict).toBe('taken')
})

test('an answer that waits for its turn is over with its connection', async () => {
  const { add, connections } = make(2)
  const socket = add()
  const [first, second] = [ask(connections, socket), ask(connections, socket)]
  const closed: string[] = []
  first.response.once('close', () => closed.push('first'))
  second.response.once('close', () => closed.push('second'))
  socket.once('close', () => first.response.close())
  socket.destroy()
  await new Promise((resolve) => setImmediate(resolve))
  expect(closed).toEqual(['first', 'second'])
})
