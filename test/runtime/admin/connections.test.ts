// The bound of connections to a listener.

import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { Connections } from '../../../runtime/admin/connections.ts'

class FakeSocket extends EventEmitter {
  isDestroyed = false
  destroy(): void {
    this.isDestroyed = true
    this.emit('close')
  }
}

function make(countMax: number): { add(): FakeSocket; connections: Connections } {
  const connections = new Connections(countMax)
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
  const over = connections.began(a as unknown as Socket)
  add()
  expect([a, b, c].map((each) => each.isDestroyed)).toEqual([false, true, false])
  over()
  over()
  add()
  expect([a, c].map((each) => each.isDestroyed)).toEqual([false, true])
})

test('when all are busy it is the newcomer', () => {
  const { add, connections } = make(2)
  const busy = [add(), add()]
  for (const each of busy) connections.began(each as unknown as Socket)
  expect(add().isDestroyed).toBe(true)
  expect(busy.map((each) => each.isDestroyed)).toEqual([false, false])
  busy[0]?.destroy()
  expect(add().isDestroyed).toBe(false)
})
