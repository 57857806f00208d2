import { describe, expect, test } from 'vitest'
import { createLog, type LogLine, type LogStream } from '../../runtime/log.ts'

class Sheet implements LogStream {
  text = ''
  readonly isTTY: boolean

  constructor(isTTY = false) {
    this.isTTY = isTTY
  }

  write(text: string, done?: (error?: Error | null) => void): void {
    this.text += text
    done?.()
  }
}

const TIME = /^\d\d:\d\d:\d\d\.\d{3}/

describe('JSON', () => {
  test('one record a line, with level, time, fields and text', () => {
    const stream = new Sheet()
    const log = createLog({ level: 'info', format: 'json', stream })
    log.write('info', { pid: '{a:h|1.2}', entry: 'a:b', line: 'a:b:7' }, 'hello\nworld')
    log.write('error', {}, '100 %s %% of it')
    const lines = stream.text.trimEnd().split('\n')
    expect(lines).toHaveLength(2)
    const [first, second] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(first).toEqual({
      level: 'info',
      time: expect.any(Number),
      pid: '{a:h|1.2}',
      entry: 'a:b',
      line: 'a:b:7',
      msg: 'hello\nworld',
    })
    expect(second).toMatchObject({ level: 'error', msg: '100 %s %% of it' })
  })

  test('a field cannot pose as a part of the line', () => {
    const stream = new Sheet()
    createLog({ level: 'info', format: 'json', stream }).write('info', { level: 1, msg: 2, time: 3 }, 'text')
    expect(JSON.parse(stream.text)).toMatchObject({ level: 'info', level_: 1, msg_: 2, time_: 3, msg: 'text' })
  })

  test('big integers and cycles in fields do not stop a line', () => {
    const stream = new Sheet()
    const cyclic: Record<string, unknown> = {}
    cyclic['self'] = cyclic
    createLog({ level: 'info', format: 'json', stream }).write('info', { n: 5n, cyclic }, 'text')
    expect(JSON.parse(stream.text)).toMatchObject({ n: 5, msg: 'text' })
  })
})

describe('pretty', () => {
  const pretty = (fields: Record<string, unknown>, text: string): string => {
    const stream = new Sheet(true)
    createLog({ level: 'info', format: 'auto', stream, color: false }).write('info', fields, text)
    return stream.text
  }

  test('time, level, where in the Lua, which process, text, other fields', () => {
    const line = pretty({ pid: '{shop:p|mh2k.1f}', entry: 'shop:a', line: 'shop:a:12', who: 'you all', n: 1 }, 'hi')
    expect(line).toMatch(TIME)
    expect(line.replace(TIME, '')).toBe('  INFO: shop:a:12 #1f hi who="you all" n=1\n')
  })

  test('a traceback and further lines of a text stand indented below', () => {
    const line = pretty({ entry: 'a:b', traceback: 'a:b:1: in f\na:b:2: in g\n' }, 'failed:\nboom')
    expect(line.replace(TIME, '')).toBe('  INFO: a:b failed:\n    boom\n    a:b:1: in f\n    a:b:2: in g\n')
  })

  test('a script cannot steer the terminal', () => {
    const esc = String.fromCharCode(27)
    expect(pretty({ [`k${esc}[1m`]: `${esc}[2J` }, `a${esc}[31mb\rc`)).not.toContain(esc)
    expect(pretty({}, 'a\rb')).not.toContain('\r')
  })

  test('auto is pretty on a terminal and JSON elsewhere', () => {
    expect(createLog({ level: 'info', format: 'auto', stream: new Sheet(true) }).format).toBe('pretty')
    expect(createLog({ level: 'info', format: 'auto', stream: new Sheet(false) }).format).toBe('json')
  })

  test('colours are for terminals', () => {
    const stream = new Sheet(false)
    createLog({ level: 'info', format: 'pretty', stream }).write('error', { a: 1 }, 'plain')
    expect(stream.text).not.toContain(String.fromCharCode(27))
    const colored = new Sheet(true)
    createLog({ level: 'info', format: 'pretty', stream: colored, color: true }).write('error', { a: 1 }, 'red')
    expect(colored.text).toContain(String.fromCharCode(27))
  })
})

describe('levels and listeners', () => {
  test('lines below the level are neither written nor kept', () => {
    const stream = new Sheet()
    const log = createLog({ level: 'warn', format: 'json', stream })
    log.write('info', {}, 'no')
    log.write('warn', {}, 'yes')
    log.setLevel('trace')
    log.write('trace', {}, 'now')
    log.setLevel('silent')
    log.write('error', {}, 'never')
    expect(log.recent().map((line) => line.text)).toEqual(['yes', 'now'])
    expect(stream.text.trimEnd().split('\n')).toHaveLength(2)
  })

  test('the last 1000 lines are kept, oldest first', () => {
    const log = createLog({ level: 'info', format: 'json', stream: new Sheet() })
    for (let i = 1; i <= 2500; i++) log.write('info', {}, String(i))
    const texts = log.recent().map((line) => Number(line.text))
    expect(texts).toEqual(Array.from({ length: 1000 }, (_, i) => 1501 + i))
  })

  test('a subscriber hears each line until it leaves; one that throws is dropped', () => {
    const stream = new Sheet()
    const log = createLog({ level: 'info', format: 'json', stream })
    const heard: LogLine[] = []
    const leave = log.subscribe((line) => heard.push(line))
    log.subscribe(() => {
      throw new Error('broken listener')
    })
    log.write('info', { a: 1 }, 'one')
    log.write('info', {}, 'two')
    leave()
    log.write('info', {}, 'three')
    expect(heard.map((line) => line.text)).toEqual(['one', 'two'])
    expect(stream.text.match(/broken listener/g)).toHaveLength(1)
  })

  test('a quiet log keeps its lines and writes none', () => {
    const stream = new Sheet()
    const log = createLog({ level: 'info', format: 'json', stream })
    log.setQuiet(true)
    log.write('info', {}, 'quiet')
    log.setQuiet(false)
    log.write('info', {}, 'loud')
    expect(log.recent().map((line) => line.text)).toEqual(['quiet', 'loud'])
    expect(stream.text).not.toContain('quiet')
  })

  test('closing waits for the stream, and may be repeated', async () => {
    let finish: (() => void) | undefined
    const stream: LogStream = {
      write: (_text, done) => {
        if (done !== undefined) finish = done
      },
    }
    const log = createLog({ level: 'info', format: 'json', stream })
    let isClosed = false
    const closed = log.close().then(() => {
      isClosed = true
    })
    await Promise.resolve()
    expect(isClosed).toBe(false)
    finish?.()
    await closed
    const again = log.close()
    finish?.()
    await again
  })
})
