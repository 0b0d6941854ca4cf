// The library's dependency injection asks for reflection metadata, so this is the one door to it.
import "@abraham/reflection";

export {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate,
} from "@peculiar/x509";
