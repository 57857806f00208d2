// What library functions make of the texts that scripts give them again and again: patterns, texts of `string.format`.

/** Texts that are kept; when there are more, the oldest goes. */
const COUNT_MAX = 200
/** Longer texts are not kept. */
const LENGTH_MAX = 100

export class Kept<T> {
  readonly #make: (text: string) => T
  readonly #byText = new Map<string, T>()
  #lastText: string | undefined = undefined
  #last: T | undefined = undefined

  constructor(make: (text: string) => T) {
    this.#make = make
  }

  of(text: string): T {
    if (text === this.#lastText) return this.#last as T
    let made = this.#byText.get(text)
    if (made === undefined) {
      made = this.#make(text)
      if (text.length > LENGTH_MAX) return made
      if (this.#byText.size >= COUNT_MAX) this.#byText.delete(this.#byText.keys().next().value as string)
      this.#byText.set(text, made)
    }
    this.#lastText = text
    this.#last = made
    return made
  }
}
