// lua-core.md §7.2: routing in the receiver.

import { describe, expect, test } from 'vitest'
import { Mailbox } from '../../../../runtime/process/core/mailbox.ts'

interface Mail {
  topic: string
  text: string
  arrival?: number
}

class Sink<T> {
  readonly items: T[] = []
  isClosed = false
  offer(item: T): boolean {
    if (!this.isClosed) this.items.push(item)
    return !this.isClosed
  }
}

const mailbox = (countMax = 100): Mailbox<Mail, string> => new Mailbox(countMax)
const texts = (sink: Sink<Mail>): string[] => sink.items.map((mail) => mail.text)

describe('a message', () => {
  test('goes to the listener of exactly its topic, else to the inbox', () => {
    const box = mailbox()
    const [listener, inbox] = [new Sink<Mail>(), new Sink<Mail>()]
    box.listen('a', listener)
    box.openInbox(inbox)
    for (const topic of ['a', 'b', 'a.b']) box.deliver({ topic, text: topic })
    expect(texts(listener)).toEqual(['a'])
    expect(texts(inbox)).toEqual(['b', 'a.b'])
  })

  test('waits, in order, until somebody claims it', () => {
    const box = mailbox()
    for (const text of ['a1', 'b1', 'a2']) box.deliver({ topic: text[0] as string, text })
    const [listener, inbox] = [new Sink<Mail>(), new Sink<Mail>()]
    box.listen('a', listener)
    box.openInbox(inbox)
    expect(texts(listener)).toEqual(['a1', 'a2'])
    expect(texts(inbox)).toEqual(['b1'])
  })

  test('is claimed by the first inbox, also when a listener comes later', () => {
    const box = mailbox()
    box.deliver({ topic: 'a', text: 'a1' })
    const [listener, inbox] = [new Sink<Mail>(), new Sink<Mail>()]
    box.openInbox(inbox)
    box.listen('a', listener)
    expect(texts(inbox)).toEqual(['a1'])
  })

  test('with a reserved topic never falls into the inbox', () => {
    const box = mailbox()
    const [inbox, reserved] = [new Sink<Mail>(), new Sink<Mail>()]
    box.openInbox(inbox)
    box.deliver({ topic: '@x', text: 'x' })
    expect(inbox.items).toEqual([])
    box.listen('@x', reserved)
    expect(texts(reserved)).toEqual(['x'])
  })

  test('goes to the inbox again after unlisten', () => {
    const box = mailbox()
    const [listener, inbox] = [new Sink<Mail>(), new Sink<Mail>()]
    box.listen('a', listener)
    box.openInbox(inbox)
    expect([box.unlisten(listener), box.unlisten(listener)]).toEqual([true, false])
    box.deliver({ topic: 'a', text: 'a1' })
    expect(texts(inbox)).toEqual(['a1'])
  })
})

test('a topic has one sink; listening again with it is fine', () => {
  const box = mailbox()
  const sink = new Sink<Mail>()
  expect([box.listen('a', sink), box.listen('a', sink), box.listen('a', new Sink())]).toEqual([true, true, false])
  expect(box.sinkOf('a')).toBe(sink)
})

describe('the bound', () => {
  test('refuses further messages, counting what nobody has read yet', () => {
    const box = mailbox(2)
    const mail = { topic: 'a', text: 'a' }
    expect([box.deliver({ ...mail }), box.deliver({ ...mail }), box.deliver({ ...mail })]).toEqual([true, true, false])
    box.taken()
    expect(box.deliver({ ...mail })).toBe(true)
  })

  test('never refuses events', () => {
    const box = mailbox(1)
    box.deliver({ topic: 'a', text: 'a' })
    box.notify('exit')
    const events = new Sink<string>()
    box.openEvents(events)
    box.notify('cancel')
    expect(events.items).toEqual(['exit', 'cancel'])
  })
})

test('starting over puts unread mail back in its order of arrival, whichever sink held it', () => {
  const box = mailbox()
  const [a, inbox] = [new Sink<Mail>(), new Sink<Mail>()]
  box.listen('a', a)
  box.openInbox(inbox)
  for (const text of ['b1', 'a1', 'b2', 'a2']) box.deliver({ topic: text[0] as string, text })
  box.reset({ messages: [...a.items, ...inbox.items], events: ['e'] })
  expect([box.isWatched, box.unreadCount]).toEqual([false, 5])
  const [again, events] = [new Sink<Mail>(), new Sink<string>()]
  box.openInbox(again)
  box.openEvents(events)
  expect(texts(again)).toEqual(['b1', 'a1', 'b2', 'a2'])
  expect(events.items).toEqual(['e'])
})
