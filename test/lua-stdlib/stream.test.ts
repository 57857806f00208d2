import { afterEach, describe, expect, test } from 'vitest'
import type { ByteStream } from '../../lua-stdlib/stream/byte-stream.ts'
import { StreamObject } from '../../lua-stdlib/stream.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import type { LibraryModule, ScriptProcess } from '../../runtime/services.ts'
import { TestNode } from '../tools/lua.ts'

/** A stream over a text in memory. */
class Memory implements ByteStream {
  text: string
  position = 0
  closeCount = 0
  flushCount = 0
  constructor(text: string) {
    this.text = text
  }
  read = async (bytesMax: number): Promise<string | undefined> => {
    const piece = this.text.slice(this.position, this.position + bytesMax)
    this.position += piece.length
    return piece === '' ? undefined : piece
  }
  write = async (bytes: string): Promise<number> => {
    this.text = this.text.slice(0, this.position) + bytes + this.text.slice(this.position + bytes.length)
    this.position += bytes.length
    return bytes.length
  }
  seek = async (whence: string, offset: number): Promise<number> => {
    const from = whence === 'set' ? 0 : whence === 'cur' ? this.position : this.text.length
    if (from + offset < 0) throw new MoonmeshError('Invalid', 'negative position')
    this.position = from + offset
    return this.position
  }
  flush = async (): Promise<void> => {
    this.flushCount++
  }
  async stat(): Promise<{ sizeBytes: number | undefined; position: number }> {
    return { sizeBytes: this.text.length, position: this.position }
  }
  async close(): Promise<void> {
    this.closeCount++
  }
}

/** Can only be closed; a read waits until then. */
class Silent implements ByteStream {
  #fail: (error: Error) => void = () => {}
  closeCount = 0
  read = (): Promise<string | undefined> =>
    new Promise((_resolve, reject) => {
      this.#fail = reject
    })
  async stat(): Promise<{ sizeBytes: undefined; position: number }> {
    return { sizeBytes: undefined, position: 0 }
  }
  async close(): Promise<void> {
    this.closeCount++
    this.#fail(new Error('closed while it was read'))
  }
}

class Mute implements ByteStream {
  async stat(): Promise<{ sizeBytes: undefined; position: number }> {
    return { sizeBytes: undefined, position: 0 }
  }
  close(): Promise<void> {
    return Promise.reject(new Error('it jams'))
  }
}

let node: TestNode | undefined
afterEach(() => node?.close())

/** Runs the body of `main`, in which `s` is the stream. */
function withStream(stream: ByteStream, body: string): Promise<unknown> {
  const probe: LibraryModule = {
    name: 'probe',
    description: 'what the test looks at',
    tags: ['io'],
    build: () => ({ open: (call) => new StreamObject(call.owner as ScriptProcess, stream) }),
  }
  const source = `
    local function kinds(...)
      local list = { select("#", ...) }
      for i = 1, list[1] do
        local v = (select(i, ...))
        if type(v) == "userdata" then v = v:kind() .. ": " .. v:message() end
        list[i + 1] = v == nil and "nil" or v
      end
      return list
    end
    return function()
      local s = require("probe").open()
      ${body}
    end`
  node = new TestNode({ 'test:main': { source, modules: ['probe', 'stream', 'time'] } }, [probe])
  return node.runOutside('test:main')
}

describe('a stream (lua-libraries.md §20)', () => {
  test('reads up to so many bytes, and nil, nil at the end', async () => {
    const result = await withStream(
      new Memory('a'.repeat(40_000)),
      'return { kinds(s:read(3)), kinds(#s:read()), kinds(#s:read(-1)), kinds(s:read(0)), kinds(s:read(5)) }',
    )
    expect(result).toEqual([
      [2, 'aaa', 'nil'],
      [1, 32_768],
      [1, 7229],
      [2, 'nil', 'nil'],
      [2, 'nil', 'nil'],
    ])
  })

  test('writes, seeks, flushes', async () => {
    const memory = new Memory('hello')
    const result = await withStream(
      memory,
      `return { kinds(s:write("J")), kinds(s:seek("end", 0)), kinds(s:write("!")), kinds(s:seek()), kinds(s:read()), kinds(s:flush()),
         kinds(s:seek("cur", -2)), kinds(s:seek("set", -1)) }`,
    )
    expect(memory.text).toBe('Jello!')
    expect(memory.flushCount).toBe(1)
    expect(result).toEqual([
      [2, 1, 'nil'],
      [2, 5, 'nil'],
      [2, 1, 'nil'],
      [2, 0, 'nil'],
      [2, 'Jello!', 'nil'],
      [2, true, 'nil'],
      [2, 4, 'nil'],
      [2, -1, 'Internal: negative position'],
    ])
  })

  test('tells what it is', async () => {
    const result = await withStream(
      new Memory('hello'),
      's:read(2) return { s:stat(), kinds(s:stat())[1], tostring(s) }',
    )
    const stat = { size: 5, position: 2, readable: true, writable: true, seekable: true }
    expect(result).toEqual([stat, 2, 'stream.Stream{}'])
  })

  test('refuses what it cannot do', async () => {
    const result = await withStream(
      new Mute(),
      'return { kinds(s:read()), kinds(s:write("x")), kinds(s:seek()), kinds(s:flush()), s:stat(), kinds(s:close()) }',
    )
    expect(result).toEqual([
      [2, 'nil', 'Internal: stream is not readable'],
      [2, 0, 'Internal: stream is not writable'],
      [2, -1, 'Internal: stream is not seekable'],
      [2, true, 'nil'],
      { size: -1, position: 0, readable: false, writable: false, seekable: false },
      [2, false, 'Internal: it jams'],
    ])
  })

  test('once closed fails with Internal, but closes again', async () => {
    const memory = new Memory('hello')
    const result = await withStream(
      memory,
      `local sc = s:scanner()
       return { kinds(s:close()), kinds(s:close()), kinds(s:read()), kinds(s:write("x")), kinds(s:seek()), kinds(s:flush()), kinds(s:stat()),
         kinds(sc:scan()), sc:err(), tostring(s) }`,
    )
    const closed = 'Internal: stream is closed'
    expect(result).toEqual([
      [2, true, 'nil'],
      [2, true, 'nil'],
      [2, 'nil', closed],
      [2, 0, closed],
      [2, -1, closed],
      [2, false, closed],
      [2, 'nil', closed],
      [2, false, closed],
      'stream is closed',
      'stream.Stream{closed}',
    ])
    expect(memory.closeCount).toBe(1)
  })

  test('raises for arguments that are none', async () => {
    const result = await withStream(
      new Memory(''),
      `local list = {}
       for _, args in ipairs({ { "write" }, { "read", {} }, { "seek", "middle" }, { "seek", "set", "x" }, { "scanner", "letters" } }) do
         list[#list + 1] = select(2, pcall(s[args[1]], s, table.unpack(args, 2)))
       end
       list[#list + 1] = select(2, pcall(s.read, {}))
       return list`,
    )
    expect(result).toEqual([
      expect.stringContaining('string expected'),
      expect.stringContaining('number expected'),
      expect.stringContaining("invalid option 'middle'"),
      expect.stringContaining('number expected'),
      expect.stringContaining("invalid option 'letters'"),
      expect.stringContaining('stream.Stream expected'),
    ])
  })

  test('closes with its process, also in the middle of a read', async () => {
    const silent = new Silent()
    await withStream(silent, 'coroutine.spawn(function() s:read() end) s:stat() return 1')
    expect(silent.closeCount).toBe(1)
  })

  test('lets other coroutines run while it is read, and ends the read when it is closed', async () => {
    const result = await withStream(
      new Silent(),
      `local out = channel.new(1)
       coroutine.spawn(function() out:send(kinds(s:read())) end)
       s:stat()
       s:close()
       return (out:receive())`,
    )
    expect(result).toEqual([2, 'nil', 'Internal: stream is closed'])
  })

  test('is read by one coroutine after the other', async () => {
    const result = await withStream(
      new Memory('abcdef'),
      `local out = channel.new(3)
       for _ = 1, 3 do coroutine.spawn(function() out:send((s:read(2))) end) end
       return out:receive() .. out:receive() .. out:receive()`,
    )
    expect(result).toBe('abcdef')
  })

  test('has scanners: scan gives two values, err a message', async () => {
    const result = await withStream(
      new Memory(`one\ntwo\n${'x'.repeat(70_000)}\nrest`),
      `local sc, err = s:scanner()
       local list = { err == nil }
       for _ = 1, 2 do list[#list + 1] = kinds(sc:scan()) list[#list + 1] = sc:text() end
       list[#list + 1] = kinds(sc:err())
       list[#list + 1] = kinds(sc:scan())
       list[#list + 1] = kinds(sc:err())
       list[#list + 1] = sc:text()
       list[#list + 1] = kinds(sc:scan())[2]
       return list`,
    )
    const long = expect.stringContaining('token too long')
    expect(result).toEqual([
      true,
      [2, true, 'nil'],
      'one',
      [2, true, 'nil'],
      'two',
      [1, 'nil'],
      [2, false, long],
      [1, long],
      '',
      false,
    ])
  })

  test('has scanners of words that end without an error', async () => {
    const result = await withStream(
      new Memory(' a  b\nc'),
      `local sc, list = s:scanner("words"), {}
       while sc:scan() do list[#list + 1] = sc:text() end
       list[#list + 1] = sc:text()
       list[#list + 1] = tostring(sc:err())
       return list`,
    )
    expect(result).toEqual(['a', 'b', 'c', '', 'nil'])
  })
})
